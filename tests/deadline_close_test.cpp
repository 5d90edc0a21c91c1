// close_for, close_until: drain to a deadline, then ask to stop, discard what waits, join what runs.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::errc;
using fanout::ErrClosed;
using fanout::pool;
using std::chrono::steady_clock;
using std::chrono::system_clock;

/// Occupies the workers of `p` until their token fires; they then leave nothing to each other.
template <class Pool> void occupy_until_stopped(Pool& p) {
  for (std::size_t i = 0; i < p.workers(); ++i) {
    const auto started = std::make_shared<support::gate>();
    ASSERT_FALSE(p.try_do([&p, started](std::stop_token token) {
      started->open();
      support::wait_until([&] { return token.stop_requested() && p.size() == 0; });
    }));
    started->wait();
  }
}

// --- In time

TEST(DeadlineClose, SucceedsWhenAllThatWasAcceptedRan) {
  std::atomic<int> ran{0};
  pool p{{.workers = 2}};
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_FALSE(p.close_for(1h));
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(p.stats().discarded, 0u);
  EXPECT_FALSE(p.get_stop_token().stop_requested());
}

TEST(DeadlineClose, NeedsNoTimeWhenNothingWaitsOrRuns) {
  {
    pool p;
    EXPECT_FALSE(p.close_for(0s));
  }
  {
    pool p{{.workers = 4}};
    ASSERT_FALSE(p.try_do([] {}));
    ASSERT_FALSE(p.wait_idle());
    EXPECT_FALSE(p.close_for(0s));
    EXPECT_EQ(p.stats().completed, 1u);
  }
  {
    pool p;
    EXPECT_FALSE(p.close_until(steady_clock::now() - 1h));
  }
}

// The hook outlasts the deadline: a worker that still ends is not a task.
TEST(DeadlineClose, SucceedsWhenOnlyAWorkersEndIsLate) {
  const auto deadline = steady_clock::now() + 20ms;
  pool p{{.on_worker_stop = [&](std::size_t) {
    support::wait_until([&] { return steady_clock::now() > deadline + 5ms; });
  }}};
  ASSERT_FALSE(p.try_do([] {}));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_FALSE(p.close_until(deadline));
}

TEST(DeadlineClose, EndsWithTheLastTaskAndNotWithTheDeadline) {
  pool p;
  support::occupied busy(p);
  std::thread releaser([&] {
    support::wait_until([&] { return p.is_closed(); });
    busy.release();
  });
  EXPECT_FALSE(p.close_until(system_clock::now() + 24h));  // or the test's timeout
  releaser.join();
}

// --- Too late

TEST(DeadlineClose, DiscardsWhatWaitsAndCountsIt) {
  std::atomic<int> ran{0};
  pool p{{.workers = 2, .buffer = 64}};
  occupy_until_stopped(p);
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_EQ(p.close_for(1ms), errc::timed_out);
  EXPECT_EQ(ran, 0);
  const auto stats = p.stats();
  EXPECT_EQ(stats.accepted, 12u);
  EXPECT_EQ(stats.completed, 2u);
  EXPECT_EQ(stats.discarded, 10u);
  EXPECT_EQ(stats.failed, 0u);
  EXPECT_EQ(stats.queued, 0u);
}

TEST(DeadlineClose, DrainsUntilItsDeadline) {
  pool p;
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do(
      [](std::stop_token token) { support::wait_until([&] { return token.stop_requested(); }); }));
  const auto before = steady_clock::now();
  busy.release();
  EXPECT_EQ(p.close_for(30ms), errc::timed_out);
  EXPECT_GE(steady_clock::now() - before, 30ms);
  EXPECT_EQ(p.stats().completed, 2u);
}

TEST(DeadlineClose, TimesOutWhenATaskHadToBeAskedToStop) {
  pool p;
  occupy_until_stopped(p);
  EXPECT_EQ(p.close_for(1ms), errc::timed_out);
  EXPECT_EQ(p.stats().discarded, 0u);
  EXPECT_EQ(p.stats().completed, 1u);
}

TEST(DeadlineClose, FiresTheTokenOfARunningTask) {
  std::atomic<bool> fired = false;
  pool p;
  support::gate started;
  ASSERT_FALSE(p.try_do([&](std::stop_token token) {
    support::gate stop;
    const std::stop_callback on_stop(token, [&] {
      fired = true;
      stop.open();
    });
    started.open();
    stop.wait();
  }));
  started.wait();
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_TRUE(fired);
}

TEST(DeadlineClose, JoinsARunningTaskThatIgnoresItsToken) {
  bool ended = false;  // unsynchronised: ThreadSanitizer is the judge
  pool p;
  support::gate started;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    support::wait_until([&] { return p.get_stop_token().stop_requested(); });
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    ended = true;
  }));
  started.wait();
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_TRUE(ended);
}

TEST(DeadlineClose, DestroysTheCapturesOfDiscardedTasks) {
  const auto held = std::make_shared<int>(0);
  std::array<char, 200> ballast{};
  pool p;
  occupy_until_stopped(p);
  for (int i = 0; i < 5; ++i) {
    ASSERT_FALSE(p.try_do([held] {}));
    ASSERT_FALSE(p.try_do([held, ballast] { static_cast<void>(ballast); }));  // boxed
  }
  EXPECT_EQ(held.use_count(), 11);
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(p.stats().discarded, 10u);
}

TEST(DeadlineClose, DiscardedTasksAreNoFailures) {
  std::atomic<int> reported{0};
  pool p{{.on_error = [&](const fanout::error_info&) { ++reported; }}};
  occupy_until_stopped(p);
  for (int i = 0; i < 5; ++i) ASSERT_FALSE(p.try_do([] { throw 1; }));
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_EQ(reported, 0);
  EXPECT_EQ(p.stats().discarded, 5u);
}

TEST(DeadlineClose, WakesWaitIdle) {
  pool p;
  occupy_until_stopped(p);
  ASSERT_FALSE(p.try_do([] {}));
  std::thread waiter([&] { EXPECT_FALSE(p.wait_idle()); });
  EXPECT_EQ(p.close_for(1ms), errc::timed_out);
  waiter.join();
}

TEST(DeadlineClose, TasksWaitingWhenItDiscardsRunOrAreDiscarded) {
  for (int round = 0; round < 100; ++round) {
    std::vector<std::atomic<int>> runs(64);
    std::atomic<int> destroyed{0};
    pool p{{.workers = 2, .buffer = 64}};
    for (auto& each : runs) {
      const auto guard = std::shared_ptr<int>(new int(0), [&](const int* i) {
        delete i;
        ++destroyed;
      });
      ASSERT_FALSE(p.try_do([guard, &each] { ++each; }));
    }
    const auto answer = p.close_for(0s);
    const auto stats = p.stats();
    ASSERT_EQ(stats.accepted, 64u);
    ASSERT_EQ(stats.completed + stats.discarded, 64u);
    if (stats.discarded > 0) {
      ASSERT_EQ(answer, errc::timed_out);
    }
    std::uint64_t ran = 0;
    for (const auto& each : runs) {
      ASSERT_LE(each, 1);
      ran += static_cast<std::uint64_t>(each.load());
    }
    ASSERT_EQ(ran, stats.completed);
    ASSERT_EQ(destroyed, 64);
  }
}

// --- Durations

// The worker takes what waits while the closing thread is still in its stop request.
TEST(DeadlineClose, NothingStartsThatAWorkerTakesAfterTheStopRequest) {
  pool p;
  support::gate started;
  support::gate may_end;
  int ran = 0;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    may_end.wait();
  }));
  started.wait();
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  const std::stop_callback on_stop(p.get_stop_token(), [&] {
    may_end.open();
    support::wait_until([&] { return p.size() == 0; });
  });
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(p.stats().discarded, 3u);
}

TEST(DeadlineClose, NothingOrLessIsNow) {
  const auto times_out = [](auto close) {
    pool p;
    occupy_until_stopped(p);
    return close(p) == errc::timed_out;
  };
  EXPECT_TRUE(times_out([](pool& p) { return p.close_for(0s); }));
  EXPECT_TRUE(times_out([](pool& p) { return p.close_for(-1s); }));
  EXPECT_TRUE(times_out([](pool& p) { return p.close_for(std::chrono::hours::min()); }));
  EXPECT_TRUE(
      times_out([](pool& p) { return p.close_for(std::chrono::duration<double>(-1e300)); }));
  EXPECT_TRUE(times_out([](pool& p) { return p.close_until(steady_clock::time_point::min()); }));
  EXPECT_TRUE(times_out([](pool& p) { return p.close_until(system_clock::time_point::min()); }));
  EXPECT_TRUE(times_out([](pool& p) { return p.close_until(system_clock::now() - 24h); }));
}

/// Whether a close is still waiting when it is proven blocked, and then succeeds.
template <class CloseIt> bool drains(CloseIt close) {
  using support::watched_sync;
  support::watched_pool p;
  support::occupied busy(p);
  std::error_code answer = errc::full;
  std::atomic<bool> returned = false;
  const std::stop_callback on_stop(p.get_stop_token(), [&] { busy.release(); });
  std::thread closer([&] {
    answer = close(p);
    returned = true;
  });
  support::wait_until([&] { return watched_sync::blocked == 1 || returned; });
  busy.release();
  closer.join();
  return !answer;
}

TEST(DeadlineClose, SaturatesToForever) {
  EXPECT_TRUE(drains([](auto& p) { return p.close_for(std::chrono::hours::max()); }));
  EXPECT_TRUE(drains([](auto& p) { return p.close_for(std::chrono::nanoseconds::max()); }));
  EXPECT_TRUE(drains([](auto& p) { return p.close_for(std::chrono::duration<double>(1e300)); }));
  EXPECT_TRUE(drains([](auto& p) { return p.close_until(steady_clock::time_point::max()); }));
  EXPECT_TRUE(drains([](auto& p) { return p.close_until(system_clock::time_point::max()); }));
}

// --- A second caller

/// The answers of two closes, the first proven to have blocked before the second is called.
template <class First, class Second>
std::array<std::error_code, 2> answers(First first, Second second) {
  using support::watched_sync;
  watched_sync::reset();
  support::watched_pool p{{.buffer = 8}};
  occupy_until_stopped(p);
  if (p.try_do([] {})) std::abort();
  std::array<std::error_code, 2> result;
  std::thread closer([&] { result[0] = first(p); });
  support::wait_until([] { return watched_sync::blocks >= 1; });
  result[1] = second(p);
  closer.join();
  EXPECT_EQ(p.stats().discarded, 1u);
  return result;
}

TEST(DeadlineClose, SecondCallerShortensTheDeadlineInForce) {
  const auto close = [](auto& p) { return p.close(); };
  const auto close_for_long = [](auto& p) { return p.close_for(24h); };
  const auto close_now = [](auto& p) { return p.close_for(0s); };
  const std::array<std::error_code, 2> expected{errc::timed_out, errc::closed};
  EXPECT_EQ(answers(close, close_now), expected);
  EXPECT_EQ(answers(close_for_long, close_now), expected);
  EXPECT_EQ(answers(close, [](auto& p) { return p.close_for(5ms); }), expected);
  EXPECT_EQ(
      answers(close_for_long, [](auto& p) { return p.close_until(system_clock::now() + 5ms); }),
      expected);
}

TEST(DeadlineClose, SecondCallerDoesNotLengthenTheDeadlineInForce) {
  const std::array<std::error_code, 2> expected{errc::timed_out, errc::closed};
  EXPECT_EQ(answers([](auto& p) { return p.close_for(100ms); }, [](auto& p) { return p.close(); }),
            expected);
  EXPECT_EQ(
      answers([](auto& p) { return p.close_for(100ms); }, [](auto& p) { return p.close_for(24h); }),
      expected);
}

TEST(DeadlineClose, ConcurrentCallersWithDeadlinesAllReturn) {
  for (int round = 0; round < 20; ++round) {
    pool p;
    occupy_until_stopped(p);
    ASSERT_FALSE(p.try_do([] {}));
    std::atomic<int> first{0};
    std::atomic<int> after{0};
    std::vector<std::thread> closers;
    for (int i = 0; i < 8; ++i) {
      closers.emplace_back([&, i] {
        const auto answer = i % 2 == 0 ? p.close() : p.close_for(i * 1ms);
        first += answer == errc::timed_out ? 1 : 0;
        after += answer == ErrClosed ? 1 : 0;
      });
    }
    for (auto& closer : closers) closer.join();
    ASSERT_EQ(first, 1);
    ASSERT_EQ(after, 7);
  }
}

TEST(DeadlineClose, FollowsAStopRequest) {
  pool p;
  occupy_until_stopped(p);
  p.request_stop();
  EXPECT_FALSE(p.close_for(1h));
  EXPECT_EQ(p.stats().completed, 1u);
}

}  // namespace
