// Submitters that block: the waiting room against workers, close and stop tokens.

#include "model.hpp"

namespace {

/// Every producer blocks until there is room. All tasks end with no close to help.
template <class Self, int Producers, int Workers, std::size_t Buffer, unsigned Each,
          class Policy = model::policy>
class all_blocking : public model::scenario<Self, Producers, Workers, Buffer, Policy> {
 public:
  void run(int index) {
    for (unsigned i = 0; i < Each; ++i) {
      const auto id = static_cast<unsigned>(index) * Each + i;
      model::check(this->do_wait(id, [this] { all_ran.arrive(); }),
                   "while nobody closes, do_wait accepts");
    }
    if (index != 0) return;
    all_ran.wait();
    static_cast<void>(this->pool->close());
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
  model::gate all_ran{Producers * static_cast<int>(Each)};
};

struct capacity_one : all_blocking<capacity_one, 2, 1, 1, 1> {};
struct blocked_producer : all_blocking<blocked_producer, 1, 1, 1, 3> {};
struct blocked_producer_two_workers : all_blocking<blocked_producer_two_workers, 1, 2, 1, 3> {};
struct two_blocked_producers : all_blocking<two_blocked_producers, 2, 1, 1, 2> {};
struct two_blocked_producers_two_workers
    : all_blocking<two_blocked_producers_two_workers, 2, 2, 1, 2> {};
struct three_blocked_producers : all_blocking<three_blocked_producers, 3, 1, 1, 1> {};
struct three_blocked_producers_two_slots
    : all_blocking<three_blocked_producers_two_slots, 3, 2, 2, 2> {};
struct patient_blocked_producers
    : all_blocking<patient_blocked_producers, 2, 2, 1, 2, model::patient_policy> {};
FANOUT_MODEL_SCENARIO(capacity_one);
FANOUT_MODEL_SCENARIO(blocked_producer);
FANOUT_MODEL_SCENARIO(blocked_producer_two_workers);
FANOUT_MODEL_SCENARIO(two_blocked_producers);
FANOUT_MODEL_SCENARIO(two_blocked_producers_two_workers);
FANOUT_MODEL_SCENARIO(three_blocked_producers);
FANOUT_MODEL_SCENARIO(three_blocked_producers_two_slots);
FANOUT_MODEL_SCENARIO(patient_blocked_producers);

/// Producers meet a full pool: its slots become free one after the other, in any order, or at once.
template <class Self, int Producers, int Workers, std::size_t Buffer>
class full : public model::scenario<Self, Producers, Workers, Buffer> {
 public:
  static constexpr unsigned fill = static_cast<unsigned>(Buffer);
  void prepare() {
    for (unsigned id = 0; id < fill; ++id) {
      this->try_do(id, [this] {
        if (Self::holds_workers) all_in.wait();
      });
    }
  }
  void run(int index) {
    model::check(this->do_wait(fill + static_cast<unsigned>(index)),
                 "while nobody closes, do_wait accepts");
    all_in.arrive();
    if (index != 0) return;
    all_in.wait();
    static_cast<void>(this->pool->close());
  }
  model::gate all_in{Producers};
};
struct full_pool_blocks_two : full<full_pool_blocks_two, 2, 2, 2> {
  static constexpr bool holds_workers = false;
};
struct full_pool_blocks_three : full<full_pool_blocks_three, 3, 1, 1> {
  static constexpr bool holds_workers = false;
};
/// No worker frees another slot before all producers have got in.
struct two_slots_for_two_blocked : full<two_slots_for_two_blocked, 2, 2, 2> {
  static constexpr bool holds_workers = true;
};
FANOUT_MODEL_SCENARIO(full_pool_blocks_two);
FANOUT_MODEL_SCENARIO(full_pool_blocks_three);
FANOUT_MODEL_SCENARIO(two_slots_for_two_blocked);

/// Close wakes everybody who is blocked.
template <class Self, int Producers>
class closed : public model::scenario<Self, Producers + 1, 1, 1> {
 public:
  void prepare() { this->try_do(0); }
  void run(int index) {
    if (index == 0) {
      model::check(!this->pool->close(), "the first close succeeds");
      this->tasks.sees(0);
    } else if (!this->do_wait(static_cast<unsigned>(index))) {
      model::check(this->pool->is_closed(), "do_wait is refused by nothing but close");
    }
  }
};
struct close_against_a_blocked_producer : closed<close_against_a_blocked_producer, 1> {};
struct close_against_blocked_producers : closed<close_against_blocked_producers, 2> {};
FANOUT_MODEL_SCENARIO(close_against_a_blocked_producer);
FANOUT_MODEL_SCENARIO(close_against_blocked_producers);

/// The only worker is held, so nothing but its stop token ends the wait of a producer.
struct stop_against_a_blocked_producer : model::scenario<stop_against_a_blocked_producer, 2, 1, 1> {
  void prepare() {
    try_do(0, [this] { held.wait(); });
  }
  void run(int index) {
    if (index == 1) {
      stop.request_stop();
      return;
    }
    for (unsigned id = 1; id <= 2; ++id) {
      const bool in =
          submit_by([this](auto&& f) { return pool->do_wait(std::move(f), stop.get_token()); }, id);
      model::check(in || last_answer == fanout::errc::canceled, "a stop is answered as one");
    }
    model::check(!tasks.was_accepted(1) || !tasks.was_accepted(2),
                 "behind a held task, one slot holds one");
    held.arrive();
    static_cast<void>(pool->close());
  }
  std::stop_source stop;
  model::gate held{1};
};
FANOUT_MODEL_SCENARIO(stop_against_a_blocked_producer);

/// The stop of one blocked producer takes nothing from another.
struct stop_beside_a_blocked_producer : model::scenario<stop_beside_a_blocked_producer, 3, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    if (index == 2) {
      stop.request_stop();
      return;
    }
    const bool in =
        index == 0
            ? do_wait(1)
            : submit_by([this](auto&& f) { return pool->do_wait(std::move(f), stop.get_token()); },
                        2);
    model::check(in || index == 1, "while nobody closes or stops it, do_wait accepts");
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(pool->close());
  }
  std::stop_source stop;
  model::gate done{2};
};
FANOUT_MODEL_SCENARIO(stop_beside_a_blocked_producer);

/// A deadline that passes while a slot is handed over: one of both, and no call is lost.
struct deadline_beside_a_blocked_producer
    : model::scenario<deadline_beside_a_blocked_producer, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    const bool in = index == 0 ? do_wait(1)
                               : submit_by(
                                     [this](auto&& f) {
                                       return pool->try_do_for(std::chrono::hours(1), std::move(f));
                                     },
                                     2);
    model::check(in || index == 1, "while nobody closes, do_wait accepts");
    done.arrive();
    if (index != 0) return;
    done.wait();
    static_cast<void>(pool->close());
  }
  model::gate done{2};
};
FANOUT_MODEL_SCENARIO(deadline_beside_a_blocked_producer);

}  // namespace
