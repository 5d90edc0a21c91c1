// Groups inside groups, and what a waiter must not do: run strangers, spin, or wait for room.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::group;
using fanout::pool;
using support::gate;
using support::occupied;
using support::on_worker;

template <class F> void add(group& to, F&& f) {
  if (to.run(std::forward<F>(f))) std::abort();
}

int fibonacci(pool& p, int n) {
  if (n < 2) return n;
  int a = 0;
  group g{p};
  add(g, [&] { a = fibonacci(p, n - 1); });
  const int b = fibonacci(p, n - 2);
  g.wait();
  return a + b;
}

/// Runs `width` tasks, each of which does the same, `depth` deep; returns how many leaves ran.
int leaves(pool& p, int width, int depth) {
  if (depth == 0) return 1;
  std::vector<int> below(static_cast<std::size_t>(width));
  group g{p};
  for (int& each : below) add(g, [&] { each = leaves(p, width, depth - 1); });
  g.wait();
  int sum = 0;
  for (const int each : below) sum += each;
  return sum;
}

TEST(NestedGroups, FinishOnOneWorkerThreeDeep) {
  pool p;
  EXPECT_EQ(on_worker(p, [&] { return leaves(p, 6, 3); }), 216);
  EXPECT_EQ(leaves(p, 6, 3), 216);
}

TEST(NestedGroups, FinishOnOneWorkerWithABufferOfOne) {
  pool p{{.buffer = 1}};
  EXPECT_EQ(on_worker(p, [&] { return fibonacci(p, 20); }), 6765);
}

TEST(NestedGroups, FinishOnSeveralWorkers) {
  pool p{{.workers = 3, .buffer = 2}};
  EXPECT_EQ(fibonacci(p, 16), 987);
}

TEST(NestedGroups, FinishWhileThePoolDrains) {
  pool p{{.buffer = 1}};
  gate closed;
  int result = 0;
  ASSERT_FALSE(p.try_do([&] {
    closed.wait();
    result = fibonacci(p, 20);
  }));
  std::thread closer([&] { p.close(); });
  support::wait_until([&] { return p.is_closed(); });
  closed.open();
  closer.join();
  EXPECT_EQ(result, 6765);
}

TEST(NestedGroups, FinishWhenEveryWorkerWaitsAndTheBufferIsFull) {
  pool p{{.workers = 2, .buffer = 2}};
  occupied busy(p);
  int results[2] = {};
  std::atomic<int> working = 0;
  for (int& result : results) {
    ASSERT_FALSE(p.try_do([&p, &result, &working] {
      ++working;
      support::wait_until([&working] { return working == 3; });
      result = leaves(p, 5, 3);
    }));
  }
  busy.release();
  support::wait_until([&] { return working == 2; });
  EXPECT_EQ(support::fill(p), 2u);
  ++working;
  p.close();
  EXPECT_EQ(results[0], 125);
  EXPECT_EQ(results[1], 125);
}

// --- Strangers

/// One task holds a mutex across wait() while another that wants it has been queued before the
/// group's ticket.
void hold_a_mutex_across_wait(std::size_t workers) {
  pool p{{.workers = workers}};
  std::mutex mutex;
  int order = 0, in_group = 0, stranger = 0;
  bool refused = false;
  ASSERT_FALSE(p.try_do([&] {
    const std::lock_guard hold(mutex);
    refused = static_cast<bool>(p.try_do([&] {
      const std::lock_guard wanted(mutex);
      stranger = ++order;
    }));
    group g{p};
    for (int i = 0; i < 100; ++i) add(g, [] {});
    g.wait();
    in_group = ++order;
  }));
  p.wait_idle();
  EXPECT_FALSE(refused);
  EXPECT_EQ(in_group, 1);
  EXPECT_EQ(stranger, 2);
}

TEST(GroupWaiter, MayHoldAMutexThatAStrangerWants) {
  hold_a_mutex_across_wait(1);
  hold_a_mutex_across_wait(2);
}

TEST(GroupWaiter, NeverHasAStrangerOnTopOfIt) {
  static thread_local int depth;
  pool p{{.workers = 2}};
  std::atomic<int> on_top = 0, ran = 0;
  for (int i = 0; i < 300; ++i) {
    ASSERT_FALSE(p.try_do([&] {
      if (depth++ != 0) ++on_top;
      group g{p};
      for (int j = 0; j < 3; ++j) add(g, [&] { ++ran; });
      g.wait();
      --depth;
    }));
  }
  p.close();
  EXPECT_EQ(on_top, 0);
  EXPECT_EQ(ran, 900);
}

// --- Sleeping

#if defined(CLOCK_THREAD_CPUTIME_ID)

std::chrono::nanoseconds own_cpu_time() {
  timespec now{};
  if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) std::abort();
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// What the calling thread computes while it waits half a second for a task on a worker.
std::chrono::nanoseconds cpu_time_of_waiting(pool& p) {
  using namespace std::chrono_literals;
  gate started;
  group g{p};
  add(g, [&] {
    started.open();
    std::this_thread::sleep_for(500ms);
  });
  started.wait();
  const auto before = own_cpu_time();
  g.wait();
  return own_cpu_time() - before;
}

TEST(GroupWaiter, UsesNoProcessorWhileItSleeps) {
  using namespace std::chrono_literals;
  pool p{{.workers = 2}};
  EXPECT_LT(cpu_time_of_waiting(p), 5ms);
  EXPECT_LT(on_worker(p, [&] { return cpu_time_of_waiting(p); }), 5ms);
}

#endif

}  // namespace
