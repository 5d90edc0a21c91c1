// How workers find groups: listing, leaving, limits, groups on workers only, and the pool's end.

#include "model.hpp"

namespace {

using fanout::errc;
using group_type = fanout::basic_group<model::policy>;

/// A scenario with a group, made with `Limit` and `OnWorkers`.
template <class Self, int Threads, int Workers, std::size_t Limit = 0, bool OnWorkers = false>
class helping : public model::scenario<Self, Threads, Workers, 1> {
 public:
  void prepare() {
    group.emplace(*this->pool, fanout::group_options{.limit = Limit, .on_workers = OnWorkers});
  }
  void finish() { group.reset(); }

 protected:
  template <class Body = decltype(helping::nothing)> bool add(unsigned id, Body body = {}) {
    return this->submit_by([this](auto&& f) { return group->try_do(std::move(f)); }, id, body);
  }
  template <class Body = decltype(helping::nothing)>
  bool run_in_group(unsigned id, Body body = {}) {
    return this->submit_by([this](auto&& f) { return group->run(std::move(f)); }, id, body);
  }
  void close_when_all_did() {
    done.arrive();
    done.wait();
    static_cast<void>(this->pool->close());
  }
  std::optional<group_type> group;
  model::gate done{Threads};
};

/// A task that comes while the worker leaves the group is found.
struct group_submit_against_the_leave : helping<group_submit_against_the_leave, 1, 1> {
  void run(int) {
    add(0, [this] { ran.arrive(); });
    add(1, [this] { ran.arrive(); });
    ran.wait();
    close_when_all_did();
  }
  model::gate ran{2};
};
FANOUT_MODEL_SCENARIO(group_submit_against_the_leave);

/// Two tasks that need each other, on two workers, without a waiter.
struct group_rendezvous : helping<group_rendezvous, 1, 2> {
  void run(int) {
    add(0, [this] { both.arrive_and_wait(); });
    add(1, [this] { both.arrive_and_wait(); });
    both.wait();
    close_when_all_did();
  }
  model::gate both{2};
};
FANOUT_MODEL_SCENARIO(group_rendezvous);

/// A task of the pool and one of a group, while the worker goes to sleep.
struct group_beside_the_ring : helping<group_beside_the_ring, 2, 1> {
  void run(int index) {
    if (index == 0) {
      try_do(0, [this] { ran.arrive(); });
      ran.wait();
      close_when_all_did();
    } else {
      add(1, [this] { ran.arrive(); });
      done.arrive();
    }
  }
  model::gate ran{2};
};
FANOUT_MODEL_SCENARIO(group_beside_the_ring);

/// wait_idle counts what groups hold.
struct wait_idle_against_a_group : helping<wait_idle_against_a_group, 1, 1> {
  void run(int) {
    add(0);
    model::check(!pool->wait_idle(), "the pool becomes idle");
    tasks.sees(0);
    close_when_all_did();
  }
};
struct wait_idle_against_a_group_two_workers
    : helping<wait_idle_against_a_group_two_workers, 1, 2> {
  void run(int) {
    add(0);
    add(1);
    model::check(!pool->wait_idle(), "the pool becomes idle");
    tasks.sees(0);
    tasks.sees(1);
    close_when_all_did();
  }
};
FANOUT_MODEL_SCENARIO(wait_idle_against_a_group);
FANOUT_MODEL_SCENARIO(wait_idle_against_a_group_two_workers);

/// A waiter empties the group that wait_idle waits for: whoever sees that last tells.
struct wait_idle_against_a_waiter : helping<wait_idle_against_a_waiter, 2, 1> {
  void prepare() {
    helping::prepare();
    add(0);
  }
  void run(int index) {
    if (index == 0) {
      model::check(!pool->wait_idle(), "the pool becomes idle");
      close_when_all_did();
    } else {
      group->wait();
      tasks.sees(0);
      done.arrive();
    }
  }
};
FANOUT_MODEL_SCENARIO(wait_idle_against_a_waiter);

/// The workers end only when no group holds a task.
template <class Self, int Workers> class close_with : public helping<Self, 1, Workers> {
 public:
  void run(int) {
    this->add(0);
    model::check(!this->pool->close(), "the close drains");
    this->tasks.sees(0);
  }
};
struct close_with_a_group : close_with<close_with_a_group, 1> {};
struct close_with_a_group_two_workers : close_with<close_with_a_group_two_workers, 2> {};
FANOUT_MODEL_SCENARIO(close_with_a_group);
FANOUT_MODEL_SCENARIO(close_with_a_group_two_workers);

/// The group may end while a worker leaves it.
struct group_ends_while_helped : helping<group_ends_while_helped, 1, 1> {
  void run(int) {
    add(0);
    group->wait();
    tasks.sees(0);
    group.reset();
    model::check(!pool->wait_idle(), "a group that has ended keeps nobody waiting");
    static_cast<void>(pool->close());
  }
};
FANOUT_MODEL_SCENARIO(group_ends_while_helped);

/// At most one at a time, and none is forgotten: a place given back lists a stalled group, and
/// calls its waiter.
struct limited_group : helping<limited_group, 1, 1, 1> {
  void run(int) {
    add(0, [this] { alone(); });
    add(1, [this] { alone(); });
    group->wait();
    tasks.sees(0);
    tasks.sees(1);
    close_when_all_did();
  }
  void alone() {
    model::check(++inside == 1, "no more than the limit run");
    --inside;
  }
  int inside = 0;
};
struct limited_group_without_a_waiter : helping<limited_group_without_a_waiter, 1, 2, 1> {
  void run(int) {
    add(0, [this] { ran.arrive(); });
    add(1, [this] { ran.arrive(); });
    ran.wait();
    close_when_all_did();
  }
  model::gate ran{2};
};
FANOUT_MODEL_SCENARIO(limited_group);
FANOUT_MODEL_SCENARIO(limited_group_without_a_waiter);

/// A waiter whose time is over gives its place back while a task is left: a worker comes for it.
struct limited_group_with_a_late_waiter : helping<limited_group_with_a_late_waiter, 1, 1, 1> {
  void run(int) {
    add(0, [this] { ran.arrive(); });
    add(1, [this] { ran.arrive(); });
    static_cast<void>(group->wait_until(fanout::detail::steady_time()));
    ran.wait();
    close_when_all_did();
  }
  model::gate ran{2};
};
FANOUT_MODEL_SCENARIO(limited_group_with_a_late_waiter);

/// The same, while the worker is held: the other waiter comes.
struct limited_group_with_two_waiters : helping<limited_group_with_two_waiters, 2, 1, 1> {
  void prepare() {
    helping::prepare();
    try_do(2, [this] { released.wait(); });
  }
  void run(int index) {
    if (index == 0) {
      add(0);
      add(1);
      added.arrive();
      static_cast<void>(group->wait_until(fanout::detail::steady_time()));
      done.arrive();
    } else {
      added.wait();
      group->wait();
      tasks.sees(0);
      tasks.sees(1);
      released.arrive();
      close_when_all_did();
    }
  }
  model::gate added{1}, released{1};
};
FANOUT_MODEL_SCENARIO(limited_group_with_two_waiters);

/// One decides: accepted and run before the last worker ends, or closed and untouched.
template <class Self, int Workers>
class group_on_workers_against : public helping<Self, 2, Workers, 0, true> {
 public:
  void run(int index) {
    if (index == 0) {
      model::check(!this->pool->close(), "the close drains");
      if (this->tasks.was_accepted(0)) this->tasks.sees(0);
    } else if (!this->add(0)) {
      model::check(this->last_answer == errc::closed, "the close refuses by saying so");
    }
  }
};
struct group_on_workers_against_close
    : group_on_workers_against<group_on_workers_against_close, 1> {};
struct group_on_two_workers_against_close
    : group_on_workers_against<group_on_two_workers_against_close, 2> {};
FANOUT_MODEL_SCENARIO(group_on_workers_against_close);
FANOUT_MODEL_SCENARIO(group_on_two_workers_against_close);

/// Only sleeps, and sees what the workers did.
struct group_on_workers_waited_for : helping<group_on_workers_waited_for, 1, 1, 0, true> {
  void run(int) {
    add(0);
    add(1);
    group->wait();
    tasks.sees(0);
    tasks.sees(1);
    close_when_all_did();
  }
};
FANOUT_MODEL_SCENARIO(group_on_workers_waited_for);

/// Past the deadline what a group holds is skipped, by the closer or by a worker.
struct late_close_with_a_group : helping<late_close_with_a_group, 1, 1> {
  void run(int) {
    add(0);
    add(1);
    static_cast<void>(pool->close_until(fanout::detail::steady_time()));
    const auto answer = group->wait();
    model::check(answer == errc::canceled || tasks.has_run(0), "who waits learns of the skipped");
  }
};
FANOUT_MODEL_SCENARIO(late_close_with_a_group);

}  // namespace
