// close: takes no more work, runs all that was accepted, returns when the last worker has ended.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <latch>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::errc;
using fanout::ErrClosed;
using fanout::pool;

TEST(Close, RunsAllThatWasAccepted) {
  for (const std::size_t workers : {1u, 2u, 4u}) {
    std::atomic<int> ran{0};
    pool p{{.workers = workers, .buffer = 100}};
    support::occupied busy(p);
    for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
    std::thread releaser([&] {
      support::wait_until([&] { return p.is_closed(); });
      busy.release();
    });
    EXPECT_FALSE(p.close());
    EXPECT_EQ(ran, 100);
    EXPECT_EQ(p.stats().discarded, 0u);
    releaser.join();
  }
}

TEST(Close, OfAPoolWithoutWorkSucceeds) {
  pool p{{.workers = 8}};
  EXPECT_FALSE(p.close());
  EXPECT_TRUE(p.is_closed());
}

TEST(Close, WakesAndEndsEverySleepingWorker) {
  using support::watched_sync;
  for (const std::size_t workers : {1u, 2u, 8u}) {
    watched_sync::reset();
    support::watched_pool p{{.workers = workers}};
    support::wait_until([&] { return watched_sync::parks >= workers; });
    EXPECT_FALSE(p.close());  // or the test's timeout
  }
}

/// Its move into the slot announces itself and waits at a gate.
class slow_to_move {
 public:
  slow_to_move(std::atomic<bool>& ran, support::gate& entered, support::gate& go)
      : ran_(&ran), entered_(&entered), go_(&go) {}
  slow_to_move(slow_to_move&& other) noexcept
      : ran_(other.ran_), entered_(other.entered_), go_(other.go_) {
    entered_->open();
    go_->wait();
  }
  void operator()() const { *ran_ = true; }

 private:
  std::atomic<bool>* ran_;
  support::gate* entered_;
  support::gate* go_;
};

// Accepted but not yet in its slot when the pool closes: the worker finds nothing, and stays, in
// short sleeps.
TEST(Close, WaitsForASubmitterThatIsStillFillingItsSlot) {
  using support::watched_sync;
  watched_sync::reset();
  std::atomic<bool> ran = false;
  std::atomic<bool> ended = false;
  std::error_code answer = errc::full;
  support::gate entered;
  support::gate go;
  support::watched_pool p{{.on_worker_stop = [&](std::size_t) { ended = true; }}};
  std::thread submitter([&] { answer = p.try_do(slow_to_move(ran, entered, go)); });
  entered.wait();
  std::thread closer([&] { EXPECT_FALSE(p.close()); });
  support::wait_until([&] { return watched_sync::brief_sleeps >= 2 || ended; });
  EXPECT_FALSE(ended);
  go.open();
  submitter.join();
  closer.join();
  EXPECT_FALSE(answer);
  EXPECT_TRUE(ran);
}

TEST(Close, ReturnsAfterTheLastWorkerHasEnded) {
  int plain = 0;  // unsynchronised: ThreadSanitizer is the judge
  pool p{{.on_worker_stop = [&](std::size_t) { ++plain; }}};
  ASSERT_FALSE(p.try_do([&] { ++plain; }));
  p.close();
  EXPECT_EQ(plain, 2);
}

TEST(Close, DestroysWhatTasksHeld) {
  const auto held = std::make_shared<int>(0);
  pool p;
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([held] {}));
  p.close();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Close, LaterSubmissionsAnswerErrClosed) {
  pool p;
  p.close();
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
  EXPECT_EQ(p.do_wait([] {}), ErrClosed);
  EXPECT_EQ(p.do_wait([] {}, std::stop_token()), ErrClosed);
  EXPECT_EQ(p.try_do_for(1h, [] {}), ErrClosed);
  EXPECT_EQ(p.try_do_until(std::chrono::steady_clock::now() + 1h, [] {}), ErrClosed);
  EXPECT_EQ(p.stats().accepted, 0u);
}

TEST(Close, AgainAnswersErrClosed) {
  pool p;
  EXPECT_FALSE(p.close());
  EXPECT_EQ(p.close(), ErrClosed);
  EXPECT_EQ(p.close_for(1h), ErrClosed);
  EXPECT_EQ(p.close_for(0s), ErrClosed);
  EXPECT_EQ(p.close_until(std::chrono::steady_clock::now()), ErrClosed);
}

TEST(Close, DestructorRunsAllThatWasAccepted) {
  std::atomic<int> ran{0};
  {
    pool p{{.workers = 2, .buffer = 200}};
    for (int i = 0; i < 200; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 200);
}

TEST(Close, DestructorFollowsAClose) {
  pool p{{.workers = 2}};
  ASSERT_FALSE(p.try_do([] {}));
  p.close();
}

TEST(Close, RunsTasksThatThrow) {
  std::atomic<int> reported{0};
  pool p{{.on_error = [&](const fanout::error_info&) { ++reported; }}};
  support::occupied busy(p);
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([] { throw 1; }));
  busy.release();
  EXPECT_FALSE(p.close());
  EXPECT_EQ(reported, 10);
}

TEST(Close, DoesNotAskTasksToStop) {
  std::atomic<bool> asked = true;
  pool p;
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do([&](std::stop_token token) { asked = token.stop_requested(); }));
  busy.release();
  p.close();
  EXPECT_FALSE(asked);
  EXPECT_FALSE(p.get_stop_token().stop_requested());
}

// --- Several closers

TEST(Close, ConcurrentCallersWaitForTheFirst) {
  pool p;
  support::occupied busy(p);
  std::atomic<int> ran{0};
  ASSERT_FALSE(p.try_do([&] { ++ran; }));
  std::atomic<int> first{0};
  std::atomic<int> after{0};
  std::atomic<int> early{0};
  std::latch all(64);
  std::vector<std::thread> closers;
  for (int i = 0; i < 64; ++i) {
    closers.emplace_back([&] {
      all.arrive_and_wait();
      const auto answer = p.close();
      first += answer ? 0 : 1;
      after += answer == ErrClosed ? 1 : 0;
      early += ran == 1 ? 0 : 1;
    });
  }
  all.wait();
  support::wait_until([&] { return p.is_closed(); });
  busy.release();
  for (auto& closer : closers) closer.join();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(after, 63);
  EXPECT_EQ(early, 0);
}

TEST(Close, ConcurrentWithIdleWorkersAlwaysReturns) {
  for (int round = 0; round < 200; ++round) {
    pool p{{.workers = 3}};
    std::thread other([&] { p.close(); });
    p.close();
    other.join();
  }
}

// --- On a worker of the pool

TEST(Close, OnAWorkerAnswersWouldDeadlockAndThePoolDrains) {
  std::atomic<int> ran{0};
  std::error_code answer;
  std::error_code late;
  pool p;
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do([&] {
    answer = p.close();
    late = p.try_do([] {});
  }));
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  busy.release();
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(answer, errc::would_deadlock);
  EXPECT_EQ(late, ErrClosed);
  EXPECT_EQ(ran, 10);
  EXPECT_TRUE(p.is_closed());
}

TEST(Close, WithADeadlineOnAWorkerDoesTheSame) {
  for (const auto duration : {0ms, 1ms}) {
    std::atomic<int> ran{0};
    std::error_code answer;
    pool p;
    support::occupied busy(p);
    ASSERT_FALSE(p.try_do([&] { answer = p.close_for(duration); }));
    for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
    busy.release();
    ASSERT_FALSE(p.wait_idle());
    EXPECT_EQ(answer, errc::would_deadlock);
    EXPECT_EQ(ran, 10);
    EXPECT_FALSE(p.close());
    EXPECT_EQ(p.stats().discarded, 0u);
  }
}

TEST(Close, ResultIsNotUsedUpByAWorker) {
  pool p;
  EXPECT_EQ(support::on_worker(p, [&] { return p.close(); }), errc::would_deadlock);
  EXPECT_FALSE(p.close());
  EXPECT_EQ(p.close(), ErrClosed);
}

TEST(Close, ResultIsNotUsedUpByRequestStop) {
  pool p;
  p.request_stop();
  EXPECT_FALSE(p.close());
  EXPECT_EQ(p.close(), ErrClosed);
}

TEST(Close, OnAWorkerWhileTheOwnerClosesAnswersAtOnce) {
  std::error_code answer;
  pool p;
  support::gate closing;
  ASSERT_FALSE(p.try_do([&] {
    closing.wait();
    answer = p.close();
  }));
  std::thread closer([&] { EXPECT_FALSE(p.close()); });
  support::wait_until([&] { return p.is_closed(); });
  closing.open();
  closer.join();
  EXPECT_EQ(answer, errc::would_deadlock);
}

TEST(Close, DestructorJoinsWhatAWorkerClosed) {
  std::atomic<int> ran{0};
  {
    pool p;
    ASSERT_EQ(support::on_worker(p,
                                 [&] {
                                   static_cast<void>(p.try_do([&] { ++ran; }));
                                   return p.close();
                                 }),
              errc::would_deadlock);
  }
  EXPECT_EQ(ran, 1);
}

TEST(Close, OnAWorkerOfAnotherPoolJoins) {
  std::atomic<int> ran{0};
  pool inner;
  pool outer;
  ASSERT_FALSE(inner.try_do([&] { ++ran; }));
  EXPECT_FALSE(support::on_worker(outer, [&] { return inner.close(); }));
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(inner.close(), ErrClosed);
}

TEST(Close, InOnErrorAnswersWouldDeadlock) {
  std::error_code answer;
  pool* self = nullptr;
  pool p{{.on_error = [&](const fanout::error_info&) { answer = self->close(); }}};
  self = &p;
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(answer, errc::would_deadlock);
  EXPECT_FALSE(p.close());
}

/// Calls close when it is destroyed, where it has not been moved from.
class closes_at_end {
 public:
  closes_at_end(pool& p, std::optional<std::error_code>& answer) : pool_(&p), answer_(&answer) {}
  closes_at_end(closes_at_end&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), answer_(other.answer_) {}
  ~closes_at_end() {
    if (pool_ != nullptr) *answer_ = pool_->close();
  }
  void operator()() const {}

 private:
  pool* pool_;
  std::optional<std::error_code>* answer_;
};

TEST(Close, InADestructorOfACaptureOnAWorkerAnswersWouldDeadlock) {
  std::optional<std::error_code> answer;
  pool p;
  ASSERT_FALSE(p.try_do(closes_at_end(p, answer)));
  ASSERT_FALSE(p.wait_idle());
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, errc::would_deadlock);
}

// --- Again on the closing thread

TEST(Close, InADiscardedCaptureAnswersWouldDeadlock) {
  std::optional<std::error_code> answer;
  pool p;
  ASSERT_FALSE(p.try_do([&](std::stop_token token) {  // does not leave the next to its worker
    support::wait_until([&] { return token.stop_requested() && p.size() == 0; });
  }));
  support::wait_until([&] { return p.size() == 0; });
  ASSERT_FALSE(p.try_do(closes_at_end(p, answer)));
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, errc::would_deadlock);
}

TEST(Close, InAStopCallbackOfADeadlineCloseAnswersWouldDeadlock) {
  std::optional<std::error_code> answer;
  std::optional<std::error_code> idle;
  pool p;
  support::occupied busy(p);
  const std::stop_callback on_stop(p.get_stop_token(), [&] {
    answer = p.close();
    idle = p.wait_idle();
    busy.release();
  });
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, errc::would_deadlock);
  EXPECT_EQ(*idle, errc::would_deadlock);
}

TEST(Close, InAStopCallbackOfRequestStopAnswersWouldDeadlock) {
  std::optional<std::error_code> answer;
  pool p;
  const std::stop_callback on_stop(p.get_stop_token(), [&] { answer = p.close_for(1h); });
  p.request_stop();
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, errc::would_deadlock);
  EXPECT_FALSE(p.close());
}

// --- What close wakes

TEST(Close, WakesBlockedSubmitters) {
  using support::watched_sync;
  support::watched_pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 1u);
  std::atomic<int> closed{0};
  std::vector<std::thread> submitters;
  for (int i = 0; i < 4; ++i) {
    submitters.emplace_back([&] { closed += p.do_wait([] {}) == ErrClosed ? 1 : 0; });
  }
  support::wait_until([] { return watched_sync::blocked == 4; });
  std::thread closer([&] { p.close(); });
  for (auto& submitter : submitters) submitter.join();  // while the worker is still busy
  EXPECT_EQ(closed, 4);
  busy.release();
  closer.join();
}

}  // namespace
