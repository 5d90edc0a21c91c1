// wait_idle: returns after an instant at which nothing waited or ran.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::errc;
using fanout::pool;
using std::chrono::steady_clock;
using std::chrono::system_clock;

TEST(WaitIdle, ReturnsAtOnceWhenNothingWasSubmitted) {
  pool p;
  EXPECT_FALSE(p.wait_idle());
  EXPECT_FALSE(p.wait_idle_for(0s));
  EXPECT_FALSE(p.wait_idle_until(steady_clock::now()));
}

TEST(WaitIdle, ReturnsAfterAllThatWasSubmittedBefore) {
  std::size_t plain = 0;  // unsynchronised: ThreadSanitizer is the judge
  pool p;
  for (std::size_t round = 1; round <= 100; ++round) {
    for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++plain; }));
    ASSERT_FALSE(p.wait_idle());
    ASSERT_EQ(plain, 10 * round);
  }
}

TEST(WaitIdle, ReturnsAfterTheTasksOfEveryWorker) {
  constexpr std::size_t workers = 4;
  std::vector<std::size_t> plain(400);
  pool p{{.workers = workers}};
  for (auto& each : plain) ASSERT_FALSE(p.try_do([&each] { ++each; }));
  ASSERT_FALSE(p.wait_idle());
  for (const auto each : plain) ASSERT_EQ(each, 1u);
}

TEST(WaitIdle, WaitsForARunningTask) {
  pool p;
  support::occupied busy(p);
  EXPECT_EQ(p.wait_idle_for(1ms), errc::timed_out);
  busy.release();
  EXPECT_FALSE(p.wait_idle());
}

TEST(WaitIdle, WaitsForAWaitingTask) {
  std::atomic<bool> ran = false;
  pool p;
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  std::thread waiter([&] {
    EXPECT_FALSE(p.wait_idle());
    EXPECT_TRUE(ran);
  });
  busy.release();
  waiter.join();
}

TEST(WaitIdle, WaitsForWhatTasksSubmit) {
  std::atomic<int> ran{0};
  pool p{{.workers = 2}};
  std::atomic<int> left{50};
  struct chain {
    pool& p;
    std::atomic<int>& left;
    std::atomic<int>& ran;
    void operator()() const {
      ++ran;
      if (left-- > 0) static_cast<void>(p.try_do(*this));
    }
  };
  ASSERT_FALSE(p.try_do(chain{p, left, ran}));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 51);
}

/// Waits at a gate when it is destroyed after it ran.
struct slow_end {
  std::unique_ptr<support::gate*> go;
  void operator()() const {}
  slow_end(support::gate& g) : go(std::make_unique<support::gate*>(&g)) {}
  slow_end(slow_end&&) = default;
  ~slow_end() {
    if (go) (*go)->wait();
  }
};

TEST(WaitIdle, WaitsForTheDestructionOfTheTask) {
  support::gate go;
  pool p;
  ASSERT_FALSE(p.try_do(slow_end(go)));
  support::wait_until([&] { return p.size() == 0; });
  EXPECT_EQ(p.wait_idle_for(1ms), errc::timed_out);
  go.open();
  EXPECT_FALSE(p.wait_idle());
}

TEST(WaitIdle, WaitsForTheErrorHandler) {
  support::gate entered;
  support::gate go;
  pool p{{.on_error = [&](const fanout::error_info&) {
    entered.open();
    go.wait();
  }}};
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  entered.wait();
  EXPECT_EQ(p.wait_idle_for(1ms), errc::timed_out);
  go.open();
  EXPECT_FALSE(p.wait_idle());
}

TEST(WaitIdle, WakesEveryWaiter) {
  pool p{{.workers = 2}};
  support::occupied busy(p);
  std::atomic<int> idle{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 8; ++i) {
    waiters.emplace_back([&] { idle += p.wait_idle() ? 0 : 1; });
  }
  busy.release();
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(idle, 8);
}

// The waiter is proven blocked before the last task ends.
TEST(WaitIdle, BlockedWaiterIsWokenByTheLastTask) {
  using support::watched_sync;
  for (int round = 0; round < 50; ++round) {
    support::watched_pool p{{.workers = 2}};
    support::occupied busy(p);
    std::thread waiter([&] { EXPECT_FALSE(p.wait_idle()); });
    support::wait_until([&] { return watched_sync::blocked == 1; });
    busy.release();
    waiter.join();
  }
}

TEST(WaitIdle, LeavesThePoolOpen) {
  pool p;
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(p.try_do([] {}));
    ASSERT_FALSE(p.wait_idle());
  }
  EXPECT_FALSE(p.is_closed());
  EXPECT_EQ(p.stats().completed, 3u);
}

TEST(WaitIdle, WorksOnAClosedPool) {
  pool p;
  ASSERT_FALSE(p.try_do([] {}));
  p.close();
  EXPECT_FALSE(p.wait_idle());
}

TEST(WaitIdle, WaitsWhileAnotherThreadCloses) {
  std::atomic<int> ran{0};
  pool p;
  support::occupied busy(p);
  for (int i = 0; i < 5; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  std::thread closer([&] { p.close(); });
  support::wait_until([&] { return p.is_closed(); });
  EXPECT_EQ(p.wait_idle_for(1ms), errc::timed_out);
  busy.release();
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 5);
  closer.join();
}

TEST(WaitIdle, OnAWorkerWouldDeadlock) {
  pool p{{.workers = 2}};
  EXPECT_EQ(support::on_worker(p, [&] { return p.wait_idle(); }), errc::would_deadlock);
  EXPECT_EQ(support::on_worker(p, [&] { return p.wait_idle_for(1h); }), errc::would_deadlock);
  EXPECT_EQ(
      support::on_worker(p, [&] { return p.wait_idle_until(steady_clock::time_point::max()); }),
      errc::would_deadlock);
  EXPECT_FALSE(p.is_closed());
}

TEST(WaitIdle, OnAWorkerOfAnotherPoolWaits) {
  std::atomic<int> ran{0};
  pool inner;
  pool outer;
  ASSERT_FALSE(inner.try_do([&] { ++ran; }));
  EXPECT_FALSE(support::on_worker(outer, [&] { return inner.wait_idle(); }));
  EXPECT_EQ(ran, 1);
}

// A pool whose worker waits for another pool is still recognised as its own.
TEST(WaitIdle, OnAWorkerWithinATaskOfAnotherPoolWouldDeadlock) {
  pool inner;
  pool outer;
  EXPECT_EQ(support::on_worker(outer,
                               [&] {
                                 support::on_worker(inner, [] { return 0; });
                                 return outer.wait_idle();
                               }),
            errc::would_deadlock);
}

// --- Deadlines

TEST(WaitIdleFor, TimesOutAtItsDeadlineAndNotBefore) {
  pool p;
  support::occupied busy(p);
  const auto before = steady_clock::now();
  EXPECT_EQ(p.wait_idle_for(20ms), errc::timed_out);
  EXPECT_GE(steady_clock::now() - before, 20ms);
  EXPECT_EQ(p.wait_idle_for(1ms), std::errc::timed_out);
}

TEST(WaitIdleFor, NothingOrLessIsALook) {
  pool p;
  support::occupied busy(p);
  EXPECT_EQ(p.wait_idle_for(0s), errc::timed_out);
  EXPECT_EQ(p.wait_idle_for(-1h), errc::timed_out);
  EXPECT_EQ(p.wait_idle_for(std::chrono::hours::min()), errc::timed_out);
  EXPECT_EQ(p.wait_idle_until(steady_clock::time_point::min()), errc::timed_out);
  EXPECT_EQ(p.wait_idle_until(system_clock::now() - 1h), errc::timed_out);
}

template <class Wait> bool outlasts(Wait wait) {
  using support::watched_sync;
  support::watched_pool p;
  support::occupied busy(p);
  std::error_code answer = errc::full;
  std::atomic<bool> returned = false;
  std::thread waiter([&] {
    answer = wait(p);
    returned = true;
  });
  support::wait_until([&] { return watched_sync::blocked == 1 || returned; });
  const bool early = returned;
  busy.release();
  waiter.join();
  return !early && !answer;
}

TEST(WaitIdleFor, SaturatesToForever) {
  EXPECT_TRUE(outlasts([](auto& p) { return p.wait_idle_for(std::chrono::hours::max()); }));
  EXPECT_TRUE(outlasts([](auto& p) { return p.wait_idle_for(std::chrono::nanoseconds::max()); }));
  EXPECT_TRUE(
      outlasts([](auto& p) { return p.wait_idle_for(std::chrono::duration<double>(1e300)); }));
  EXPECT_TRUE(outlasts([](auto& p) { return p.wait_idle_until(steady_clock::time_point::max()); }));
  EXPECT_TRUE(outlasts([](auto& p) { return p.wait_idle_until(system_clock::time_point::max()); }));
}

TEST(WaitIdleFor, EndsWithTheLastTaskAndNotWithTheDeadline) {
  EXPECT_TRUE(outlasts([](auto& p) { return p.wait_idle_for(1h); }));
  EXPECT_TRUE(outlasts([](auto& p) { return p.wait_idle_until(system_clock::now() + 1h); }));
}

}  // namespace
