// A parked pool costs nothing: no CPU time and no wake-ups.

#include <gtest/gtest.h>

#if defined(__linux__)

#include <time.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "support.hpp"

#if defined(__SANITIZE_THREAD__)
#define FANOUT_TEST_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FANOUT_TEST_TSAN
#endif
#endif

namespace {

using namespace std::chrono_literals;
using fanout::pool;

constexpr std::size_t workers = 16;

/// What the kernel tells about a thread.
struct account {
  char state = '?';
  long wakes = -1;  // how often it gave up the processor by itself
  bool operator==(const account&) const = default;
};

/// The workers of the pool "parked", by thread.
std::map<std::string, account> accounts() {
  std::map<std::string, account> result;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream stream(task.path() / "status");
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto value = [&](const std::string& key) {
      const auto at = text.find(key + ":\t");
      return at == std::string::npos ? std::string() : text.substr(at + key.size() + 2);
    };
    if (value("Name").rfind("parked/", 0) != 0) continue;
    const auto wakes = value("\nvoluntary_ctxt_switches");
    result[task.path().filename().string()] = {value("State").at(0),
                                               wakes.empty() ? -1 : std::stol(wakes)};
  }
  return result;
}

/// The workers when all of them sleep, and have not moved between two looks.
std::map<std::string, account> settled() {
  std::map<std::string, account> before;
  for (;;) {
    auto now = accounts();
    std::size_t asleep = 0;
    for (const auto& [thread, its] : now) asleep += its.state == 'S' ? 1u : 0u;
    if (asleep == workers && now == before) return now;
    before = std::move(now);
    std::this_thread::yield();
  }
}

std::chrono::nanoseconds processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// Checks that the workers of a settled pool sleep on. The sleep is the thing measured.
void expect_no_activity() {
  const auto before = settled();
  ASSERT_EQ(before.size(), workers);
  const auto processor = processor_time();
  std::this_thread::sleep_for(300ms);
  const auto used = processor_time() - processor;
#if !defined(FANOUT_TEST_TSAN)  // which runs a thread of its own
  EXPECT_LT(used, 5ms);
#else
  static_cast<void>(used);
#endif
  EXPECT_EQ(before, accounts());
}

TEST(Parked, NewPoolUsesNoProcessor) {
  std::atomic<std::size_t> started{0};
  const pool p{
      {.name = "parked", .workers = workers, .on_worker_start = [&](std::size_t) { ++started; }}};
  support::wait_until([&] { return started == workers; });
  expect_no_activity();
}

TEST(Parked, PoolThatHasWorkedUsesNoProcessor) {
  pool p{{.name = "parked", .workers = workers}};
  for (int i = 0; i < 10000; ++i) ASSERT_FALSE(p.do_wait([] {}));
  ASSERT_FALSE(p.wait_idle());
  expect_no_activity();
}

// Closed to new work but not joined: the workers have nothing to look for.
TEST(Parked, StoppedPoolUsesNoProcessor) {
  pool p{{.name = "parked", .workers = workers}};
  ASSERT_FALSE(p.try_do([] {}));
  p.request_stop();
  ASSERT_FALSE(p.wait_idle());
  expect_no_activity();
}

// While the last task runs, the other workers have ended or sleep; the closer sleeps too.
TEST(Parked, DrainingPoolUsesNoProcessorBesideItsTasks) {
  std::atomic<std::size_t> ended{0};
  pool p{{.name = "parked", .workers = workers, .on_worker_stop = [&](std::size_t) { ++ended; }}};
  support::gate started;
  support::gate go;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    go.wait();
  }));
  started.wait();
  std::thread closer([&] { p.close(); });
  support::wait_until([&] { return ended == workers - 1; });
  const auto processor = processor_time();
  std::this_thread::sleep_for(100ms);
  const auto used = processor_time() - processor;
  go.open();
  closer.join();
#if !defined(FANOUT_TEST_TSAN)
  EXPECT_LT(used, 5ms);
#else
  static_cast<void>(used);
#endif
}

TEST(Parked, WakesForTheNextTask) {
  pool p{{.name = "parked", .workers = workers}};
  for (int i = 0; i < 20; ++i) {
    settled();
    ASSERT_EQ(support::on_worker(p, [i] { return i; }), i);
  }
}

}  // namespace

#endif
