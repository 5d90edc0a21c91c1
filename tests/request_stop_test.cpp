// request_stop: closes to new work and fires the tasks' stop tokens; waiting tasks still run.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
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

TEST(RequestStop, ClosesToNewWork) {
  pool p;
  EXPECT_FALSE(p.is_closed());
  p.request_stop();
  EXPECT_TRUE(p.is_closed());
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
  EXPECT_EQ(p.do_wait([] {}), ErrClosed);
  EXPECT_EQ(p.stats().accepted, 0u);
}

TEST(RequestStop, FiresTheTokensOfRunningTasks) {
  pool p{{.workers = 3}};
  std::atomic<int> started{0};
  std::atomic<int> stopped{0};
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(p.try_do([&](std::stop_token token) {
      support::gate stop;
      const std::stop_callback on_stop(token, [&] { stop.open(); });
      ++started;
      stop.wait();
      ++stopped;
    }));
  }
  support::wait_until([&] { return started == 3; });
  EXPECT_EQ(stopped, 0);
  p.request_stop();
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(stopped, 3);
}

TEST(RequestStop, WaitingTasksStillRunAndSeeTheRequest) {
  std::atomic<int> ran{0};
  std::atomic<int> asked{0};
  pool p;
  support::occupied busy(p);
  for (int i = 0; i < 10; ++i) {
    ASSERT_FALSE(p.try_do([&](std::stop_token token) {
      ++ran;
      asked += token.stop_requested() ? 1 : 0;
    }));
  }
  p.request_stop();
  EXPECT_EQ(p.size(), 10u);
  busy.release();
  EXPECT_FALSE(p.close());
  EXPECT_EQ(ran, 10);
  EXPECT_EQ(asked, 10);
  EXPECT_EQ(p.stats().discarded, 0u);
}

TEST(RequestStop, DoesNotWaitForTasks) {
  pool p;
  support::occupied busy(p);
  p.request_stop();  // or the test's timeout
  EXPECT_EQ(p.stats().running, 1u);
}

TEST(RequestStop, FiresTheTokenOfTheObserver) {
  std::atomic<int> calls{0};
  pool p;
  const auto token = p.get_stop_token();
  EXPECT_TRUE(token.stop_possible());
  EXPECT_FALSE(token.stop_requested());
  const std::stop_callback on_stop(token, [&] { ++calls; });
  p.request_stop();
  EXPECT_TRUE(token.stop_requested());
  EXPECT_TRUE(p.get_stop_token().stop_requested());
  EXPECT_EQ(calls, 1);
}

TEST(RequestStop, MayBeRepeated) {
  std::atomic<int> calls{0};
  pool p;
  const std::stop_callback on_stop(p.get_stop_token(), [&] { ++calls; });
  p.request_stop();
  p.request_stop();
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(p.close());
  p.request_stop();
  EXPECT_EQ(calls, 1);
}

TEST(RequestStop, AfterCloseStillFiresTheToken) {
  pool p;
  p.close();
  EXPECT_FALSE(p.get_stop_token().stop_requested());
  p.request_stop();
  EXPECT_TRUE(p.get_stop_token().stop_requested());
}

TEST(RequestStop, WorksOnAWorker) {
  std::atomic<int> ran{0};
  std::atomic<bool> asked = false;
  pool p;
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do([&](std::stop_token token) {
    p.request_stop();
    asked = token.stop_requested();
  }));
  ASSERT_FALSE(p.try_do([&] { ++ran; }));
  busy.release();
  ASSERT_FALSE(p.wait_idle());
  EXPECT_TRUE(asked);
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(p.is_closed());
  EXPECT_FALSE(p.close());
}

TEST(RequestStop, HelpsACloseThatWaitsForATask) {
  pool p;
  support::gate started;
  ASSERT_FALSE(p.try_do([&](std::stop_token token) {
    started.open();
    support::wait_until([&] { return token.stop_requested(); });
  }));
  started.wait();
  std::error_code answer = errc::full;
  std::thread closer([&] { answer = p.close(); });
  support::wait_until([&] { return p.is_closed(); });
  p.request_stop();
  closer.join();
  EXPECT_FALSE(answer);  // nothing was discarded, and no deadline asked the task to stop
}

TEST(RequestStop, WakesBlockedSubmitters) {
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
  p.request_stop();
  for (auto& submitter : submitters) submitter.join();  // while the worker is still busy
  EXPECT_EQ(closed, 4);
}

TEST(RequestStop, FromManyThreadsFiresOnce) {
  std::atomic<int> calls{0};
  pool p;
  const std::stop_callback on_stop(p.get_stop_token(), [&] { ++calls; });
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { p.request_stop(); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(calls, 1);
}

// The tasks' token is the pool's own and outlives it.
TEST(RequestStop, TokenOutlivesThePool) {
  std::stop_token token;
  {
    pool p;
    token = p.get_stop_token();
  }
  EXPECT_FALSE(token.stop_requested());
}

}  // namespace
