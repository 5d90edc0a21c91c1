// Naps: one worker looks once a delay, and whoever must not wait for that ends the nap.
//
// Where nothing may lean on a timer, no nap ends by time: what then fails to start is a deadlock.

#include "model.hpp"

namespace {

using model::gate;

/// A scenario whose pool has a wake delay.
template <class Self, int Threads, int Workers, std::size_t Buffer>
class delayed : public model::scenario<Self, Threads, Workers, Buffer> {
 public:
  void choose(fanout::options& options) { options.wake_delay = std::chrono::milliseconds(1); }

 protected:
  static void without_timers() { model::sync::timeless = true; }
  /// The task itself is not watched: malloc may reuse its box, and is no step that orders anything.
  template <class Body> void submit(unsigned id, Body body) {
    static_cast<void>(this->pool->submit([this, id, body] {
      this->tasks.ran(id);
      body();
    }));
    this->tasks.answered(id, {}, true);
  }
};

/// Ordinary tasks all run, one after another and together; a nap may hold them for its time.
template <class Self, int Producers, int Workers, unsigned Each, bool Meet>
class ordinary : public delayed<Self, Producers, Workers, 4> {
 public:
  void run(int index) {
    for (unsigned i = 0; i < Each; ++i) {
      const auto id = static_cast<unsigned>(index) * Each + i;
      model::check(this->try_do(id,
                                [this] {
                                  all.arrive();
                                  if (Meet) all.wait();
                                }),
                   "with room in the buffer a task is accepted");
    }
    if (index != 0) return;
    model::sync::let_time_pass();
    all.wait();
    static_cast<void>(this->pool->close());
  }
  gate all{Producers * static_cast<int>(Each)};
};
struct nap_against_publish : ordinary<nap_against_publish, 1, 1, 3, false> {};
struct nap_against_two_producers : ordinary<nap_against_two_producers, 2, 1, 1, false> {};
struct nap_beside_a_sleeper : ordinary<nap_beside_a_sleeper, 1, 2, 2, true> {};
struct nap_against_two_that_meet : ordinary<nap_against_two_that_meet, 2, 2, 1, true> {};
FANOUT_MODEL_SCENARIO(nap_against_publish);
FANOUT_MODEL_SCENARIO(nap_against_two_producers);
FANOUT_MODEL_SCENARIO(nap_beside_a_sleeper);
FANOUT_MODEL_SCENARIO(nap_against_two_that_meet);

/// An urgent task starts without a timer, whatever ordinary ones do; and so does a close.
template <class Self, int Ordinary, int Workers>
class urgent : public delayed<Self, 1 + Ordinary, Workers, 6> {
 public:
  void prepare() { this->without_timers(); }
  void run(int index) {
    if (index != 0) {
      this->try_do(static_cast<unsigned>(index));
      done.arrive();
      return;
    }
    for (unsigned id = 0; id < 2; ++id) {
      gate started{1};
      this->submit(id == 0 ? 0 : 4 + id, [&started] { started.arrive(); });
      started.wait();
    }
    done.wait();
    static_cast<void>(this->pool->close());
  }
  gate done{Ordinary};
};
struct urgent_against_nap : urgent<urgent_against_nap, 1, 1> {};
struct urgent_against_nap_two_workers : urgent<urgent_against_nap_two_workers, 1, 2> {};
FANOUT_MODEL_SCENARIO(urgent_against_nap);
FANOUT_MODEL_SCENARIO(urgent_against_nap_two_workers);

/// Half of a buffer of two is one task: none waits.
template <class Self, int Producers, unsigned Each>
class half : public delayed<Self, Producers, 1, 2> {
 public:
  void prepare() { this->without_timers(); }
  void run(int index) {
    for (unsigned i = 0; i < Each; ++i) {
      this->do_wait(static_cast<unsigned>(index) * Each + i, [this] { all.arrive(); });
    }
    if (index != 0) return;
    all.wait();
    static_cast<void>(this->pool->close());
  }
  gate all{Producers * static_cast<int>(Each)};
};
struct half_full_against_nap : half<half_full_against_nap, 1, 3> {};
struct half_full_two_producers : half<half_full_two_producers, 2, 2> {};
FANOUT_MODEL_SCENARIO(half_full_against_nap);
FANOUT_MODEL_SCENARIO(half_full_two_producers);

/// Submitters that block for room end a nap, or its half does.
struct blocked_against_nap : delayed<blocked_against_nap, 2, 1, 3> {
  void prepare() { without_timers(); }
  void run(int index) {
    for (unsigned i = 0; i < 2; ++i) {
      model::check(do_wait(static_cast<unsigned>(index) * 2 + i),
                   "while nobody closes, do_wait accepts");
    }
    in.arrive();
    if (index != 0) return;
    in.wait();
    static_cast<void>(pool->close());
  }
  gate in{2};
};
FANOUT_MODEL_SCENARIO(blocked_against_nap);

/// Who waits for idleness ends the nap, and sees what it waited for.
template <class Self, int Others, int Workers>
class idler : public delayed<Self, 1 + Others, Workers, 6> {
 public:
  void prepare() { this->without_timers(); }
  void run(int index) {
    this->try_do(static_cast<unsigned>(2 * index));
    this->try_do(static_cast<unsigned>(2 * index) + 1);
    if (index == 0) {
      model::check(!this->pool->wait_idle(), "wait_idle ends with the pool idle");
      this->tasks.sees(0);
      this->tasks.sees(1);
    }
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(this->pool->close());
  }
  gate done{1 + Others};
};
struct wait_idle_against_nap : idler<wait_idle_against_nap, 0, 1> {};
struct wait_idle_against_nap_and_submit : idler<wait_idle_against_nap_and_submit, 1, 1> {};
struct wait_idle_against_nap_two_workers : idler<wait_idle_against_nap_two_workers, 0, 2> {};
FANOUT_MODEL_SCENARIO(wait_idle_against_nap);
FANOUT_MODEL_SCENARIO(wait_idle_against_nap_and_submit);
FANOUT_MODEL_SCENARIO(wait_idle_against_nap_two_workers);

/// A close ends the nap, and all that was accepted runs.
template <class Self, int Workers> class closed : public delayed<Self, 2, Workers, 6> {
 public:
  void prepare() { this->without_timers(); }
  void run(int index) {
    this->try_do(static_cast<unsigned>(2 * index));
    this->try_do(static_cast<unsigned>(2 * index) + 1);
    if (index == 0) model::check(!this->pool->close(), "the first close succeeds");
  }
};
struct close_against_nap : closed<close_against_nap, 1> {};
struct close_against_nap_two_workers : closed<close_against_nap_two_workers, 2> {};
FANOUT_MODEL_SCENARIO(close_against_nap);
FANOUT_MODEL_SCENARIO(close_against_nap_two_workers);

/// The same for request_stop, which ends a nap over tasks that nobody closes for.
template <class Self, int Workers> class stopped : public delayed<Self, 2, Workers, 6> {
 public:
  void prepare() { this->without_timers(); }
  void run(int index) {
    if (index == 1) {
      for (unsigned id = 0; id < 2; ++id) {
        if (!this->try_do(id, [this] { all.arrive(); })) all.arrive();
      }
      return;
    }
    this->pool->request_stop();
    all.wait();
    static_cast<void>(this->pool->close());
  }
  gate all{2};
};
struct request_stop_against_nap : stopped<request_stop_against_nap, 1> {};
struct request_stop_against_nap_two_workers : stopped<request_stop_against_nap_two_workers, 2> {};
FANOUT_MODEL_SCENARIO(request_stop_against_nap);
FANOUT_MODEL_SCENARIO(request_stop_against_nap_two_workers);

/// A close with a deadline ends the nap too. What a submitter has claimed and not yet published
/// when the deadline passes is discarded or run, and either is counted.
template <class Self, int Workers, unsigned Before>
class deadline : public delayed<Self, 2, Workers, 6> {
 public:
  void prepare() { this->without_timers(); }
  void run(int index) {
    if (index == 1) {
      this->try_do(2);
      this->try_do(3);
      return;
    }
    for (unsigned id = 0; id < Before; ++id) this->try_do(id);
    const auto answer = this->pool->close_for(std::chrono::hours(1));
    model::check(answer == fanout::errc::timed_out || this->pool->stats().discarded == 0,
                 "close_for tells when it discarded");
    for (unsigned id = 0; id < 4; ++id) {
      if (this->tasks.has_run(id)) this->tasks.sees(id);
    }
  }
};
struct deadline_close_against_nap : deadline<deadline_close_against_nap, 1, 1> {};
struct deadline_close_against_nap_two_workers
    : deadline<deadline_close_against_nap_two_workers, 2, 0> {};
FANOUT_MODEL_SCENARIO(deadline_close_against_nap);
FANOUT_MODEL_SCENARIO(deadline_close_against_nap_two_workers);

/// Who waits for idleness is told when what it waits for is discarded beneath a nap.
struct wait_idle_against_nap_and_deadline_close
    : delayed<wait_idle_against_nap_and_deadline_close, 2, 1, 6> {
  void prepare() { without_timers(); }
  void run(int index) {
    if (index == 0) {
      try_do(0);
      static_cast<void>(pool->close_for(std::chrono::hours(1)));
    } else {
      try_do(1);
      model::check(!pool->wait_idle(), "wait_idle ends with the pool idle");
    }
  }
};
FANOUT_MODEL_SCENARIO(wait_idle_against_nap_and_deadline_close);

/// It waits for tasks of others, so that its kick is the first that it reads of the word.
struct wait_idle_of_others_against_nap : delayed<wait_idle_of_others_against_nap, 2, 1, 6> {
  void prepare() { without_timers(); }
  void run(int index) {
    if (index == 1) {
      try_do(0, [this] { first.arrive(); });
      first.wait();
      try_do(1);
    } else {
      first.wait();
      model::check(!pool->wait_idle(), "wait_idle ends with the pool idle");
    }
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(pool->close());
  }
  gate first{1}, done{2};
};
FANOUT_MODEL_SCENARIO(wait_idle_of_others_against_nap);

/// A bulk that takes half the buffer ends the nap by its last task.
struct bulk_against_nap : delayed<bulk_against_nap, 1, 1, 4> {
  void prepare() {
    without_timers();
    checks_tasks = false;
  }
  void run(int) {
    gate first{1};
    try_do(0, [&first] { first.arrive(); });
    first.wait();
    const auto one = [this] {
      tasks.ran(next++);
      all.arrive();
    };
    std::array<decltype(one), 2> range{one, one};
    model::check(pool->try_do_bulk(range).accepted == 2, "a bulk that fits is accepted");
    all.wait();
    static_cast<void>(pool->close());
  }
  unsigned next = 1;
  gate all{2};
};
FANOUT_MODEL_SCENARIO(bulk_against_nap);

/// A nap in which fewer than two tasks came is the last one: the pool goes to sleep for good.
struct quiet_after_nap : delayed<quiet_after_nap, 1, 1, 6> {
  void prepare() { model::sync::let_time_pass(); }
  void run(int) {
    for (unsigned id = 0; id < 2; ++id) {
      gate ran{1};
      try_do(id, [&ran] { ran.arrive(); });
      ran.wait();
    }
    static_cast<void>(pool->close());
  }
  /// Each of the two tasks wakes the worker at most once, and close does.
  void finish() { model::check(model::sync::naps <= 3, "naps end when no work comes"); }
};
FANOUT_MODEL_SCENARIO(quiet_after_nap);

/// After the idle hook of what it submitted, and not before it, wait_idle returns.
template <class Self, int Workers, bool Submits>
class hooked : public model::scenario<Self, 1, Workers, 2> {
 public:
  void choose(fanout::options& options) {
    options.on_worker_idle = [this](std::size_t) {
      if (Submits && std::exchange(left, 0u) != 0) this->try_do(2);
      hooked_after = this->tasks.started();
    };
  }
  void run(int) {
    this->try_do(0);
    this->try_do(1);
    model::check(!this->pool->wait_idle(), "wait_idle ends with the pool idle");
    model::check(Workers > 1 || hooked_after == this->tasks.started(),
                 "wait_idle waits for the hook");
    model::check(!Submits || this->tasks.has_run(2), "and for what the hook submits");
    static_cast<void>(this->pool->close());
  }
  unsigned left = 1, hooked_after = 0;
};
struct idle_hook : hooked<idle_hook, 1, false> {};
struct idle_hook_two_workers : hooked<idle_hook_two_workers, 2, false> {};
struct idle_hook_that_submits : hooked<idle_hook_that_submits, 1, true> {};
FANOUT_MODEL_SCENARIO(idle_hook);
FANOUT_MODEL_SCENARIO(idle_hook_two_workers);
FANOUT_MODEL_SCENARIO(idle_hook_that_submits);

/// The hook holds no search: what a task needs that comes meanwhile, another worker runs.
struct idle_hook_that_waits
    : model::scenario<idle_hook_that_waits, 1, 2, 2, model::patient_policy> {
  void choose(fanout::options& options) {
    options.on_worker_idle = [this](std::size_t) {
      if (std::exchange(is_first, false)) second.wait();
    };
  }
  void run(int) {
    try_do(0);
    try_do(1, [this] { second.arrive(); });
    second.wait();
    static_cast<void>(pool->close());
  }
  bool is_first = true;
  gate second{1};
};
FANOUT_MODEL_SCENARIO(idle_hook_that_waits);

}  // namespace
