// Submission against the workers: ring, idle protocol, worker loop.

#include "model.hpp"

namespace {

using model::gate;

template <class Self, int Producers, int Workers, std::size_t Buffer, unsigned Each,
          class Policy = model::policy>
class one_try_each : public model::scenario<Self, Producers, Workers, Buffer, Policy> {
 public:
  /// Producers that never meet a full buffer. All tasks end with no close to help.
  void run(int index) {
    for (unsigned i = 0; i < Each; ++i) {
      const auto id = static_cast<unsigned>(index) * Each + i;
      model::check(this->try_do(id, [this] { all_ran.arrive(); }),
                   "with room in the buffer a task is accepted");
    }
    if (index != 0) return;
    all_ran.wait();
    model::check(!this->pool->close(), "the first close succeeds");
    for (unsigned id = 0; id < Producers * Each; ++id) this->tasks.sees(id);
  }
  void finish() {
    if (Workers != 1) return;
    for (unsigned id = 1; id < Producers * Each; ++id) {
      if (id % Each == 0) continue;
      model::check(this->tasks.place(id - 1) < this->tasks.place(id),
                   "one worker starts tasks in the order of their acceptance");
    }
  }
  gate all_ran{Producers * static_cast<int>(Each)};
};

struct one_producer_one_worker : one_try_each<one_producer_one_worker, 1, 1, 2, 2> {};
struct one_producer_two_workers : one_try_each<one_producer_two_workers, 1, 2, 2, 2> {};
struct two_producers_one_worker : one_try_each<two_producers_one_worker, 2, 1, 2, 1> {};
struct two_producers_two_workers : one_try_each<two_producers_two_workers, 2, 2, 2, 1> {};
struct three_producers_one_worker : one_try_each<three_producers_one_worker, 3, 1, 3, 1> {};
struct two_producers_two_searchers
    : one_try_each<two_producers_two_searchers, 2, 2, 2, 1, model::patient_policy> {};
FANOUT_MODEL_SCENARIO(one_producer_one_worker);
FANOUT_MODEL_SCENARIO(one_producer_two_workers);
FANOUT_MODEL_SCENARIO(two_producers_one_worker);
FANOUT_MODEL_SCENARIO(two_producers_two_workers);
FANOUT_MODEL_SCENARIO(three_producers_one_worker);
FANOUT_MODEL_SCENARIO(two_producers_two_searchers);

/// One at a time: each task finds the worker parked, on its way there, or just back.
struct park_against_publish : model::scenario<park_against_publish, 1, 1, 1> {
  void run(int) {
    for (unsigned id = 0; id < 3; ++id) {
      gate ran{1};
      while (!try_do(id, [&ran] { ran.arrive(); })) model::sync::yield();
      ran.wait();
    }
    static_cast<void>(pool->close());
  }
};
FANOUT_MODEL_SCENARIO(park_against_publish);

/// Tasks that need each other: each stays until the other runs, so both workers must be up.
template <class Self, int Producers>
class rendezvous : public model::scenario<Self, Producers, 2, 2> {
 public:
  void run(int index) {
    for (int id = index; id < 2; id += Producers) {
      model::check(this->try_do(static_cast<unsigned>(id), [this] { both.arrive_and_wait(); }),
                   "with room in the buffer a task is accepted");
    }
    if (index != 0) return;
    both.wait();
    static_cast<void>(this->pool->close());
  }
  gate both{2};
};
struct rendezvous_of_one_producer : rendezvous<rendezvous_of_one_producer, 1> {};
struct rendezvous_of_two_producers : rendezvous<rendezvous_of_two_producers, 2> {};
FANOUT_MODEL_SCENARIO(rendezvous_of_one_producer);
FANOUT_MODEL_SCENARIO(rendezvous_of_two_producers);

/// The idle protocol alone: at most one worker searches.
struct one_searcher : model::scenario<one_searcher, 2, 1, 1> {
  void prepare() { idle.emplace(std::chrono::nanoseconds(0)); }
  void run(int index) {
    if (idle->start_search()) {
      model::check(searchers++ == 0, "at most one worker searches");
      model::sync::yield();
      --searchers;
      idle->end_search([] { return false; });
    }
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(pool->close());
  }
  void finish() { idle.reset(); }
  std::optional<fanout::detail::idle_protocol<model::sync>> idle;
  int searchers = 0;
  gate done{2};
};
FANOUT_MODEL_SCENARIO(one_searcher);

/// Several laps of a small ring.
template <class Self, int Workers, std::size_t Buffer, unsigned Tasks>
class laps : public model::scenario<Self, 1, Workers, Buffer> {
 public:
  void run(int) {
    for (unsigned id = 0; id < Tasks; ++id) {
      while (!this->try_do(id)) model::sync::yield();
    }
    static_cast<void>(this->pool->close());
    for (unsigned id = 0; id < Tasks; ++id) {
      this->tasks.sees(id);
      if (Workers == 1) model::check(this->tasks.place(id) == id, "tasks start in order");
    }
  }
};
struct laps_of_one_slot : laps<laps_of_one_slot, 1, 1, 4> {};
struct laps_of_two_slots : laps<laps_of_two_slots, 2, 2, 6> {};
struct laps_of_three_slots : laps<laps_of_three_slots, 1, 3, 8> {};
FANOUT_MODEL_SCENARIO(laps_of_one_slot);
FANOUT_MODEL_SCENARIO(laps_of_two_slots);
FANOUT_MODEL_SCENARIO(laps_of_three_slots);

/// A bulk is claimed in one step and wakes once; its tasks need each other all the same.
struct bulk_rendezvous : model::scenario<bulk_rendezvous, 1, 2, 2> {
  void run(int) {
    const auto meet = [this] {
      tasks.ran(next++);
      both.arrive_and_wait();
    };
    std::array<decltype(meet), 2> range{meet, meet};
    const auto result = pool->try_do_bulk(range);
    model::check(result.accepted == 2, "a bulk that fits is accepted");
    both.wait();
    static_cast<void>(pool->close());
  }
  void prepare() { checks_tasks = false; }
  void finish() { model::check(tasks.started() == 2, "each task of the bulk runs once"); }
  unsigned next = 0;
  gate both{2};
};
FANOUT_MODEL_SCENARIO(bulk_rendezvous);

}  // namespace
