// Groups: a waiter against the workers that help.

#include "model.hpp"

namespace {

/// A scenario with a group in its pool.
template <class Self, int Threads, int Workers, std::size_t Buffer>
class grouped : public model::scenario<Self, Threads, Workers, Buffer> {
 public:
  using group_type = fanout::basic_group<model::policy>;
  void prepare() { group.emplace(*this->pool); }
  void finish() { group.reset(); }

 protected:
  template <class Body = decltype(grouped::nothing)> void add(unsigned id, Body body = {}) {
    this->submit_by([this](auto&& f) { return group->try_do(std::move(f)); }, id, body);
  }
  std::optional<group_type> group;
};

/// The waiter runs what no worker does, sleeps until the rest has ended, and sees all of it.
template <class Self, int Workers, std::size_t Buffer, unsigned Tasks>
class waited : public grouped<Self, 1, Workers, Buffer> {
 public:
  void run(int) {
    for (unsigned id = 0; id < Tasks; ++id) this->add(id);
    this->group->wait();
    for (unsigned id = 0; id < Tasks; ++id) this->tasks.sees(id);
    static_cast<void>(this->pool->close());
  }
};
struct group_wait_against_a_worker : waited<group_wait_against_a_worker, 1, 1, 2> {};
struct group_wait_against_two_workers : waited<group_wait_against_two_workers, 2, 2, 2> {};
FANOUT_MODEL_SCENARIO(group_wait_against_a_worker);
FANOUT_MODEL_SCENARIO(group_wait_against_two_workers);

/// Nobody waits: the workers alone run every task.
template <class Self, int Producers, int Workers, unsigned Each>
class helped : public grouped<Self, Producers, Workers, 2> {
 public:
  void run(int index) {
    for (unsigned i = 0; i < Each; ++i) {
      this->add(static_cast<unsigned>(index) * Each + i, [this] { all_ran.arrive(); });
    }
    if (index != 0) return;
    all_ran.wait();
    this->group->wait();
    for (unsigned id = 0; id < Producers * Each; ++id) this->tasks.sees(id);
    static_cast<void>(this->pool->close());
  }
  model::gate all_ran{Producers * static_cast<int>(Each)};
};
struct helped_group : helped<helped_group, 1, 1, 3> {};
struct helped_group_of_two_producers : helped<helped_group_of_two_producers, 2, 1, 1> {};
struct helped_group_on_two_workers : helped<helped_group_on_two_workers, 1, 2, 2> {};
FANOUT_MODEL_SCENARIO(helped_group);
FANOUT_MODEL_SCENARIO(helped_group_of_two_producers);
FANOUT_MODEL_SCENARIO(helped_group_on_two_workers);

/// A task adds another while the waiter may be asleep.
struct group_task_adds_a_task : grouped<group_task_adds_a_task, 1, 1, 1> {
  void run(int) {
    add(0, [this] { add(1); });
    group->wait();
    tasks.sees(0);
    tasks.sees(1);
    static_cast<void>(pool->close());
  }
};
FANOUT_MODEL_SCENARIO(group_task_adds_a_task);

/// Two threads wait for the same group.
struct two_group_waiters : grouped<two_group_waiters, 2, 1, 1> {
  void run(int index) {
    add(static_cast<unsigned>(index));
    group->wait();
    tasks.sees(static_cast<unsigned>(index));
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(pool->close());
  }
  model::gate done{2};
};
FANOUT_MODEL_SCENARIO(two_group_waiters);

/// A failing task skips those not started; the waiter gets the failure once.
struct failing_group : grouped<failing_group, 1, 1, 2> {
  void run(int) {
    add(0, [] { throw 1; });
    add(1);
    try {
      group->wait();
    } catch (int) {
      ++rethrown;
    }
    model::check(rethrown == 1, "wait rethrows the first failure");
    model::check(tasks.has_run(1) != (tasks.was_accepted(1) && group->skipped() == 1) ||
                     !tasks.was_accepted(1),
                 "a task of a failed group runs or is skipped and counted");
    static_cast<void>(pool->close());
  }
};
FANOUT_MODEL_SCENARIO(failing_group);

/// The destructor of the group follows the wait at once: nobody touches it after that.
struct group_ends_after_wait : grouped<group_ends_after_wait, 1, 1, 1> {
  void run(int) {
    add(0);
    group.reset();
    if (tasks.has_run(0)) tasks.sees(0);
    static_cast<void>(pool->close());
  }
};
FANOUT_MODEL_SCENARIO(group_ends_after_wait);

/// Closing while a group works: what is refused help costs no task.
struct group_against_close : grouped<group_against_close, 2, 1, 1> {
  void run(int index) {
    if (index == 1) {
      static_cast<void>(pool->close());
      return;
    }
    add(0);
    add(1);
    group->wait();
    tasks.sees(0);
    tasks.sees(1);
  }
};
FANOUT_MODEL_SCENARIO(group_against_close);

}  // namespace
