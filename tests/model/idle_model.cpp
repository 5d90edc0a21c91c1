// wait_idle against completion, tasks that throw, and what a worker shows of the task that it runs.

#include "model.hpp"

namespace {

/// Who waits until the pool is idle sees what was accepted before done, and is woken for it.
template <class Self, int Waiters, int Workers, unsigned Tasks>
class idle_waiters : public model::scenario<Self, Waiters, Workers, 2> {
 public:
  void prepare() {
    for (unsigned id = 1; id < Tasks; ++id) this->try_do(id);
  }
  void run(int index) {
    if (index == 0) this->try_do(0);
    model::check(!this->pool->wait_idle(), "wait_idle ends with the pool idle");
    for (unsigned id = index == 0 ? 0 : 1; id < Tasks; ++id) this->tasks.sees(id);
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(this->pool->close());
  }
  model::gate done{Waiters};
};
struct wait_idle_against_completion : idle_waiters<wait_idle_against_completion, 1, 1, 2> {};
struct wait_idle_two_workers : idle_waiters<wait_idle_two_workers, 1, 2, 2> {};
struct two_wait_idle : idle_waiters<two_wait_idle, 2, 1, 1> {};
FANOUT_MODEL_SCENARIO(wait_idle_against_completion);
FANOUT_MODEL_SCENARIO(wait_idle_two_workers);
FANOUT_MODEL_SCENARIO(two_wait_idle);

/// Another thread submits meanwhile; the waiter's own task is done all the same.
struct wait_idle_against_submit : model::scenario<wait_idle_against_submit, 2, 1, 2> {
  void run(int index) {
    try_do(static_cast<unsigned>(index));
    if (index == 0) {
      model::check(!pool->wait_idle(), "wait_idle ends with the pool idle");
      tasks.sees(0);
    }
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(pool->close());
  }
  model::gate done{2};
};
FANOUT_MODEL_SCENARIO(wait_idle_against_submit);

/// A close with a deadline ends a wait_idle too: what it discards, nobody waits for.
struct wait_idle_against_deadline_close
    : model::scenario<wait_idle_against_deadline_close, 2, 1, 2> {
  void prepare() {
    try_do(0);
    try_do(1);
  }
  void run(int index) {
    if (index == 0) {
      static_cast<void>(pool->close_for(std::chrono::hours(1)));
    } else {
      model::check(!pool->wait_idle(), "wait_idle ends with the pool idle");
    }
  }
};
FANOUT_MODEL_SCENARIO(wait_idle_against_deadline_close);

/// Who reads the counters meanwhile sees no part exceed the whole.
struct stats_against_a_task : model::scenario<stats_against_a_task, 2, 1, 3> {
  void run(int index) {
    if (index == 0) {
      try_do(0);
      static_cast<void>(pool->close());
    } else {
      const auto now = pool->stats();
      model::check(now.accepted <= 1 && now.completed <= now.accepted, "one task was accepted");
      model::check(now.queued <= now.accepted, "no more wait than were accepted");
      model::check(now.running <= now.accepted, "no more run than were accepted");
    }
  }
};
FANOUT_MODEL_SCENARIO(stats_against_a_task);

#if defined(__cpp_exceptions)
/// A task that throws is counted and reported, and takes nothing down.
template <class Self, int Workers> class throwing : public model::scenario<Self, 1, Workers, 2> {
 public:
  void run(int) {
    this->try_do(0, [] { throw 1; });
    this->try_do(1);
    model::check(!this->pool->wait_idle(), "wait_idle ends with the pool idle");
    this->tasks.sees(0);
    this->tasks.sees(1);
    static_cast<void>(this->pool->close());
  }
  void finish() { model::check(this->pool->stats().failed == 1, "a task that throws has failed"); }
};
struct throwing_task : throwing<throwing_task, 1> {};
struct throwing_task_two_workers : throwing<throwing_task_two_workers, 2> {};
FANOUT_MODEL_SCENARIO(throwing_task);
FANOUT_MODEL_SCENARIO(throwing_task_two_workers);
#endif

/// A value is read as it was written, whole, and none older than one read before.
struct seqlock : rl::test_suite<seqlock, 2> {
  struct pair {
    std::uintptr_t first, second;
  };
  void before() { value.write({0, 0}); }
  void thread(unsigned index) {
    model::step::begin_thread();
    if (index == 0) {
      value.write({1, 1});
      value.write({2, 2});
      return;
    }
    for (std::uintptr_t last = 0, reads = 0; reads < 2; ++reads) {
      const auto now = value.read();
      if (!now) continue;  // the writer stayed in its stores for as long as the reader tries
      model::check(now->first == now->second, "what is read was written together");
      model::check(now->first >= last, "no value comes back");
      last = now->first;
    }
  }
  void after() { ++model::executions; }

  fanout::detail::seqlock<model::sync, pair> value;
};
FANOUT_MODEL_SCENARIO(seqlock);

}  // namespace
