// A thread that cannot start: the constructor ends those that did and throws std::system_error.

#include <gtest/gtest.h>

#if defined(__linux__)

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "fail_thread_start.hpp"
#include "support.hpp"

namespace {

using fanout::pool;

constexpr auto& until_failure = support::thread_starts::until_failure;
std::atomic<std::uint64_t> parks_at_failure{0};  // workers of a watched pool that sleep by then

/// Starts a thread and sees it gone: ThreadSanitizer's runtime starts its own with the first.
bool start_the_runtime() {
  pid_t id = 0;
  std::thread([&id] { id = ::gettid(); }).join();
  support::wait_until(
      [task = "/proc/self/task/" + std::to_string(id)] { return !std::filesystem::exists(task); });
  return true;
}

/// The threads of this process.
std::ptrdiff_t threads() {
  [[maybe_unused]] static const bool started = start_the_runtime();
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

constexpr std::size_t workers = 5;

class ThreadStart : public testing::TestWithParam<int> {
 protected:
  ~ThreadStart() override { until_failure = -1; }

  /// What a pool answers whose thread GetParam() cannot start.
  template <class Pool = pool> std::error_code failure(fanout::options opts = {}) {
    opts.workers = workers;
    until_failure = GetParam();
    try {
      Pool p(std::move(opts));
    } catch (const std::system_error& e) {
      until_failure = -1;
      return e.code();
    }
    return {};
  }
};
INSTANTIATE_TEST_SUITE_P(FailsAt, ThreadStart, testing::Range(0, static_cast<int>(workers)),
                         testing::PrintToStringParamName());

TEST_P(ThreadStart, ThrowsSystemErrorWithThePlatformsCode) {
  EXPECT_EQ(failure(), std::errc::resource_unavailable_try_again);
}

TEST_P(ThreadStart, EndsTheThreadsThatDidStart) {
  const auto before = threads();
  ASSERT_TRUE(failure());
  support::wait_until([&] { return threads() == before; });  // joined threads linger in the kernel
}

TEST_P(ThreadStart, EndsTheThreadsThatAlreadySleep) {
  const auto before = threads();
  support::watched_sync::reset();
  parks_at_failure = static_cast<std::uint64_t>(GetParam());
  support::thread_starts::before_failure = [] {
    support::wait_until([] { return support::watched_sync::parks >= parks_at_failure; });
  };
  ASSERT_TRUE(failure<support::watched_pool>());
  support::thread_starts::before_failure = nullptr;
  support::wait_until([&] { return threads() == before; });
}

TEST_P(ThreadStart, CallsNoHookAfterTheConstructor) {
  std::atomic<int> started{0};
  std::atomic<int> stopped{0};
  ASSERT_TRUE(failure({.on_worker_start = [&](std::size_t) { ++started; },
                       .on_worker_stop = [&](std::size_t) { ++stopped; }}));
  EXPECT_EQ(started, stopped);
  EXPECT_LE(started, GetParam());
}

TEST_P(ThreadStart, KeepsNothingOfTheOptions) {
  const auto held = std::make_shared<int>(0);
  ASSERT_TRUE(failure({.on_error = [held](const fanout::error_info&) {},
                       .on_worker_start = [held](std::size_t) {},
                       .on_worker_stop = [held](std::size_t) {}}));
  EXPECT_EQ(held.use_count(), 1);
}

TEST_P(ThreadStart, LeavesRoomForTheNextPool) {
  ASSERT_TRUE(failure());
  std::atomic<int> runs{0};
  pool p{{.workers = workers}};
  EXPECT_FALSE(p.try_do([&] { ++runs; }));
  p.close();
  EXPECT_EQ(runs, 1);
}

TEST(ThreadStartAlone, TheInterposedFunctionIsTheOneInUse) {
  until_failure = 1000;
  { const pool p{{.workers = 3}}; }
  EXPECT_EQ(until_failure, 997);
  until_failure = -1;
}

}  // namespace

#endif
