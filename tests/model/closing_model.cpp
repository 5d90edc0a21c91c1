// Closing: against submission, against itself, from a task, while workers park, with a deadline.

#include "model.hpp"

namespace {

using fanout::errc;

/// One place decides: accepted and run, or closed and untouched.
template <class Self, int Producers, int Workers>
class submission : public model::scenario<Self, Producers + 1, Workers, 2> {
 public:
  void run(int index) {
    if (index == 0) {
      model::check(!this->pool->close(), "the first close succeeds");
      closed = true;
      for (unsigned id = 1; id <= Producers; ++id) {
        if (this->tasks.was_accepted(id)) this->tasks.sees(id);
      }
    } else {
      const bool late = closed;
      const bool in = this->try_do(static_cast<unsigned>(index));
      model::check(!(in && late), "after close nothing is accepted");
      if (!in && Producers == 1) {
        model::check(this->last_answer == errc::closed, "close refuses by saying so");
      }
    }
  }
  bool closed = false;
};
struct close_against_submit : submission<close_against_submit, 1, 1> {};
struct close_against_submit_two_workers : submission<close_against_submit_two_workers, 1, 2> {};
struct close_against_two_submits : submission<close_against_two_submits, 2, 1> {};
FANOUT_MODEL_SCENARIO(close_against_submit);
FANOUT_MODEL_SCENARIO(close_against_submit_two_workers);
FANOUT_MODEL_SCENARIO(close_against_two_submits);

/// One of the closers has the result; both return when all has run.
template <class Self, int Closers, int Workers>
class closers : public model::scenario<Self, Closers, Workers, 1> {
 public:
  void prepare() { this->try_do(0); }
  void run(int) {
    const std::error_code answer = this->pool->close();
    model::check(!answer || answer == errc::closed, "close succeeds or finds the pool closed");
    first += !answer;
    this->tasks.sees(0);
  }
  void finish() { model::check(first == 1, "the result of closing goes to one closer"); }
  int first = 0;
};
struct close_against_close : closers<close_against_close, 2, 1> {};
struct close_against_close_two_workers : closers<close_against_close_two_workers, 2, 2> {};
struct three_closers : closers<three_closers, 3, 1> {};
FANOUT_MODEL_SCENARIO(close_against_close);
FANOUT_MODEL_SCENARIO(close_against_close_two_workers);
FANOUT_MODEL_SCENARIO(three_closers);

/// A task's close closes and returns at once; the owner's joins. A draining task is refused.
template <class Self, int Workers> class from_a_task : public model::scenario<Self, 1, Workers, 2> {
 public:
  void run(int) {
    this->try_do(0, [this] {
      model::check(this->pool->close() == errc::would_deadlock, "a task's close does not join");
      model::check(!this->try_do(2), "a task that drains is refused");
    });
    this->try_do(1);
    model::check(!this->pool->close(), "the owner's close has its own result");
    this->tasks.sees(0);
    if (this->tasks.was_accepted(1)) this->tasks.sees(1);
  }
};
struct close_from_a_task : from_a_task<close_from_a_task, 1> {};
struct close_from_a_task_two_workers : from_a_task<close_from_a_task_two_workers, 2> {};
FANOUT_MODEL_SCENARIO(close_from_a_task);
FANOUT_MODEL_SCENARIO(close_from_a_task_two_workers);

/// Workers on their way to sleep, asleep, or back see that the pool stops.
template <class Self, int Workers> class parking : public model::scenario<Self, 1, Workers, 1> {
 public:
  void run(int) { model::check(!this->pool->close(), "the first close succeeds"); }
};
struct stop_while_parking : parking<stop_while_parking, 1> {};
struct stop_while_two_park : parking<stop_while_two_park, 2> {};
struct stop_while_three_park : parking<stop_while_three_park, 3> {};
FANOUT_MODEL_SCENARIO(stop_while_parking);
FANOUT_MODEL_SCENARIO(stop_while_two_park);
FANOUT_MODEL_SCENARIO(stop_while_three_park);

/// request_stop closes as close does, and the close that follows joins.
struct request_stop_against_submit : model::scenario<request_stop_against_submit, 2, 1, 2> {
  void run(int index) {
    if (index == 0) {
      pool->request_stop();
      model::check(!pool->close(), "request_stop leaves the result of closing");
      if (tasks.was_accepted(1)) tasks.sees(1);
    } else {
      try_do(1);
    }
  }
};
FANOUT_MODEL_SCENARIO(request_stop_against_submit);

/// Each accepted task runs or is discarded, and the answer tells.
template <class Self, int Workers> class deadline : public model::scenario<Self, 2, Workers, 2> {
 public:
  void prepare() {
    this->try_do(0);
    this->try_do(1);
  }
  void run(int index) {
    if (index == 1) {
      this->try_do(2);
      return;
    }
    const auto answer = this->pool->close_for(std::chrono::hours(1));
    const auto stats = this->pool->stats();
    model::check(answer == errc::timed_out || stats.discarded == 0,
                 "close_for tells when it discarded");
    for (unsigned id = 0; id < 3; ++id) {
      if (this->tasks.has_run(id)) this->tasks.sees(id);
    }
  }
};
struct deadline_close : deadline<deadline_close, 1> {};
struct deadline_close_two_workers : deadline<deadline_close_two_workers, 2> {};
FANOUT_MODEL_SCENARIO(deadline_close);
FANOUT_MODEL_SCENARIO(deadline_close_two_workers);

/// Of two closers with deadlines either may be the one that discards.
struct deadline_close_against_close : model::scenario<deadline_close_against_close, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    const auto answer = index == 0 ? pool->close() : pool->close_for(std::chrono::hours(1));
    first += answer != errc::closed;
    if (tasks.has_run(0)) tasks.sees(0);
  }
  void finish() { model::check(first == 1, "the result of closing goes to one closer"); }
  int first = 0;
};
FANOUT_MODEL_SCENARIO(deadline_close_against_close);

}  // namespace
