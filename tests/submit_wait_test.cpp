// submit_wait, submit_for, submit_until: a future, with backpressure.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;
using support::occupied;
using namespace std::chrono_literals;

template <class T> std::error_code refusal_in(std::future<T> f) {
  try {
    f.get();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

TEST(SubmitWait, GivesResultsAndExceptions) {
  pool p;
  EXPECT_EQ(p.submit_wait([] { return 7; }).get(), 7);
  EXPECT_EQ(p.submit_for(1h, [] { return 8; }).get(), 8);
  EXPECT_EQ(p.submit_until(std::chrono::steady_clock::now() + 1h, [] { return 9; }).get(), 9);
  p.submit_wait([](std::stop_token) {}).get();
  EXPECT_THROW(p.submit_wait([] { throw 1; }).get(), int);
}

// In a loop nothing is refused.
TEST(SubmitWait, WaitsForRoom) {
  pool p{{.buffer = 1}};
  std::vector<std::future<int>> all;
  for (int i = 0; i < 5000; ++i) {
    all.push_back(p.submit_wait([i] { return i; }));
  }
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(all[static_cast<std::size_t>(i)].get(), i);
  EXPECT_EQ(p.stats().rejected, 0u);
}

TEST(SubmitWait, PutsItsRefusalIntoTheFutureAndLeavesTheCallable) {
  pool p{{.buffer = 1}};
  occupied busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  auto task = [held = std::make_unique<int>(1)] { return *held; };
  EXPECT_EQ(refusal_in(p.submit_for(1ms, std::move(task))), errc::timed_out);
  EXPECT_EQ(refusal_in(p.submit_until(std::chrono::system_clock::now(), std::move(task))),
            errc::timed_out);
  std::stop_source stopped;
  stopped.request_stop();
  EXPECT_EQ(refusal_in(p.submit_wait(std::move(task), stopped.get_token())), errc::canceled);
  EXPECT_EQ(refusal_in(p.submit_wait(std::function<int()>())), errc::empty_task);
  p.request_stop();
  EXPECT_EQ(refusal_in(p.submit_wait(std::move(task))), errc::closed);
  EXPECT_EQ(std::move(task)(), 1);
}

TEST(SubmitWait, IsEndedByCloseAndByItsToken) {
  pool p{{.buffer = 1}};
  std::optional<occupied<pool>> busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  std::stop_source stop;
  std::future<void> stopped, closed;
  {
    std::jthread a([&] { stopped = p.submit_wait([] {}, stop.get_token()); });
    std::jthread b([&] { closed = p.submit_wait([] {}); });
    std::jthread c([&] { stop.request_stop(); });
    a.join();
    p.request_stop();
  }
  EXPECT_EQ(refusal_in(std::move(stopped)), errc::canceled);
  EXPECT_EQ(refusal_in(std::move(closed)), errc::closed);
}

TEST(SubmitWait, OnAWorkerOfAFullPoolWouldDeadlock) {
  pool p{{.buffer = 1}};
  const auto answers = support::on_worker(p, [&] {
    static_cast<void>(p.try_do([] {}));
    return std::vector{refusal_in(p.submit_wait([] {})), refusal_in(p.submit_for(1h, [] {})),
                       refusal_in(p.submit_until(std::chrono::steady_clock::now() + 1h, [] {}))};
  });
  for (const auto& answer : answers) EXPECT_EQ(answer, errc::would_deadlock);
}

TEST(SubmitWait, DiscardedHoldsCanceled) {
  pool p;
  occupied busy(p);
  auto dropped = p.submit_wait([] {});
  EXPECT_EQ(p.purge(), 1u);
  EXPECT_EQ(refusal_in(std::move(dropped)), errc::canceled);
}

}  // namespace
