// Eviction and purge: against each other, submission, workers, closing, and who waits.

#include "model.hpp"

namespace {

using fanout::errc;

/// A scenario whose tasks may be discarded.
template <class Self, int Threads, int Workers, std::size_t Buffer>
class discarding : public model::scenario<Self, Threads, Workers, Buffer> {
 protected:
  /// Accepted, closed, or full, which only another call in the slot excuses.
  bool do_evict(unsigned id) {
    const bool in =
        this->submit_by([this](auto&& f) { return this->pool->do_evict(std::move(f)); }, id);
    const auto why = this->last_answer;
    model::check(in || why == errc::full || why == errc::closed, "eviction answers what it may");
    return in;
  }
  /// At the end of one thread: closes when all have come here.
  void close_when_all_did() {
    done.arrive();
    done.wait();
    model::check(!this->pool->close(), "the close drains");
  }
  model::gate done{Threads};
};

/// Over a full ring of one or two slots; a worker may take in between.
template <class Self, int Evictors, std::size_t Buffer>
class evictors : public discarding<Self, Evictors, 1, Buffer> {
 public:
  void prepare() {
    for (unsigned id = 0; id < Buffer; ++id) this->try_do(id);
  }
  void run(int index) {
    const auto id = static_cast<unsigned>(Buffer) + static_cast<unsigned>(index);
    const bool in = this->do_evict(id);
    if (Evictors == 1 && !in) {
      model::check(this->pool->size() < Buffer, "full only while a worker empties the slot");
    }
    index == 0 ? this->close_when_all_did() : this->done.arrive();
  }
};
struct evict_against_a_worker : evictors<evict_against_a_worker, 1, 1> {};
struct evict_against_a_worker_two_slots : evictors<evict_against_a_worker_two_slots, 1, 2> {};
struct evict_against_evict : evictors<evict_against_evict, 2, 1> {};
struct evict_against_evict_two_slots : evictors<evict_against_evict_two_slots, 2, 2> {};
FANOUT_MODEL_SCENARIO(evict_against_a_worker);
FANOUT_MODEL_SCENARIO(evict_against_a_worker_two_slots);
FANOUT_MODEL_SCENARIO(evict_against_evict);
FANOUT_MODEL_SCENARIO(evict_against_evict_two_slots);

/// The close may come between the two exchanges: the oldest is gone, the new one refused.
struct evict_against_close : discarding<evict_against_close, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    if (index == 0) {
      model::check(!pool->close(), "what was evicted is none of the closing's discards");
    } else {
      do_evict(1);
    }
  }
};
FANOUT_MODEL_SCENARIO(evict_against_close);

struct evict_against_submit : discarding<evict_against_submit, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    if (index == 0) {
      do_evict(1);
      close_when_all_did();
    } else {
      try_do(2);
      done.arrive();
    }
  }
};
FANOUT_MODEL_SCENARIO(evict_against_submit);

/// The place of the evicted is taken: who is blocked waits for a worker.
struct evict_against_a_blocked_submitter : discarding<evict_against_a_blocked_submitter, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    if (index == 0) {
      do_evict(1);
      close_when_all_did();
    } else {
      model::check(do_wait(2), "a blocked submitter gets room");
      done.arrive();
    }
  }
};
FANOUT_MODEL_SCENARIO(evict_against_a_blocked_submitter);

/// Who waits for idleness is told by the evictor, if its telling is the last thing.
struct evict_against_wait_idle : discarding<evict_against_wait_idle, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    if (index == 0) {
      model::check(!pool->wait_idle(), "the pool becomes idle");
      if (!tasks.was_accepted(1) && tasks.has_run(0)) tasks.sees(0);
      close_when_all_did();
    } else {
      do_evict(1);
      done.arrive();
    }
  }
};
FANOUT_MODEL_SCENARIO(evict_against_wait_idle);

struct purge_against_a_worker : discarding<purge_against_a_worker, 1, 1, 2> {
  void prepare() {
    try_do(0);
    try_do(1);
  }
  void run(int) {
    const std::size_t dropped = pool->purge();
    model::check(pool->stats().discarded == dropped, "purge says how many");
    close_when_all_did();
  }
};
FANOUT_MODEL_SCENARIO(purge_against_a_worker);

struct purge_against_submit : discarding<purge_against_submit, 2, 1, 1> {
  void prepare() { try_do(0); }
  void run(int index) {
    if (index == 0) {
      pool->purge();
      close_when_all_did();
    } else {
      try_do(1);
      done.arrive();
    }
  }
};
FANOUT_MODEL_SCENARIO(purge_against_submit);

struct purge_against_close : discarding<purge_against_close, 2, 1, 2> {
  void prepare() {
    try_do(0);
    try_do(1);
  }
  void run(int index) {
    if (index == 0) {
      model::check(!pool->close(), "a purge is none of the closing's discards");
      const auto stats = pool->stats();
      model::check(stats.accepted == stats.completed + stats.discarded,
                   "close waits until the purge has told");
    } else {
      pool->purge();
    }
  }
};
FANOUT_MODEL_SCENARIO(purge_against_close);

/// A purge gives room to who is blocked, while the only worker is held.
struct purge_against_a_blocked_submitter : discarding<purge_against_a_blocked_submitter, 2, 1, 1> {
  void prepare() {
    try_do(0, [this] { release.wait(); });
  }
  void run(int index) {
    if (index == 0) {
      do_wait(1);
      started.arrive();
      model::check(pool->purge() == 1, "what the caller had accepted is dropped");
      done.wait();
      release.arrive();
      static_cast<void>(pool->close());
    } else {
      started.wait();
      do_wait(2);
      done.arrive();
      done.arrive();
    }
  }
  model::gate started{1}, release{1};
};
FANOUT_MODEL_SCENARIO(purge_against_a_blocked_submitter);

struct purge_against_wait_idle : discarding<purge_against_wait_idle, 2, 1, 2> {
  void prepare() {
    try_do(0);
    try_do(1);
  }
  void run(int index) {
    if (index == 0) {
      model::check(!pool->wait_idle(), "the pool becomes idle");
      close_when_all_did();
    } else {
      pool->purge();
      done.arrive();
    }
  }
};
FANOUT_MODEL_SCENARIO(purge_against_wait_idle);

}  // namespace
