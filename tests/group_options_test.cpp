// group_options: at most so many tasks at a time; on workers only.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <latch>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::ErrClosed;
using fanout::group;
using fanout::pool;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

constexpr std::size_t stored = 32;  // tasks that a group holds

template <class Group, class F> void add(Group& to, F&& f) {
  if (to.try_do(std::forward<F>(f))) std::abort();
}

/// Tells how many run at a time.
class crowd {
 public:
  void operator()() {
    const int now = ++inside_;
    int most = most_;
    while (most < now && !most_.compare_exchange_weak(most, now)) {
    }
    std::this_thread::yield();
    --inside_;
    ++all_;
  }
  int most() const { return most_; }
  int all() const { return all_; }

 private:
  std::atomic<int> inside_{0}, most_{0}, all_{0};
};

// --- limit

TEST(GroupLimit, HoldsWhoeverRunsTheTasks) {
  for (const std::size_t limit : {1u, 2u, 3u}) {
    crowd tasks;
    pool p{{.workers = 4}};
    group g{p, {.limit = limit}};
    {
      std::vector<std::jthread> submitters;
      for (int t = 0; t < 3; ++t) {
        submitters.emplace_back([&] {
          for (int i = 0; i < 500; ++i) EXPECT_FALSE(g.run([&] { tasks(); }));
          EXPECT_FALSE(g.wait());
        });
      }
    }
    EXPECT_FALSE(g.wait());
    EXPECT_EQ(tasks.all(), 1500);
    EXPECT_LE(tasks.most(), static_cast<int>(limit));
  }
}

TEST(GroupLimit, IsReached) {
  std::latch together{2};
  pool p{{.workers = 3}};
  group g{p, {.limit = 2}};
  for (int i = 0; i < 2; ++i) add(g, [&] { together.arrive_and_wait(); });
  together.wait();  // or the test's timeout
  EXPECT_FALSE(g.wait());
}

TEST(GroupLimit, WaiterIsOneOfThem) {
  gate started, go;
  std::atomic<bool> second_ran = false;
  pool p{{.workers = 2}};
  group g{p, {.limit = 1}};
  add(g, [&] {
    started.open();
    go.wait();
  });
  started.wait();
  add(g, [&] { second_ran = true; });
  EXPECT_EQ(g.wait_for(10ms), errc::timed_out);
  EXPECT_FALSE(second_ran);
  go.open();
  EXPECT_FALSE(g.wait());
  EXPECT_TRUE(second_ran);
}

TEST(GroupLimit, RunBlocksUntilThereIsRoom) {
  gate started, go;
  std::atomic<bool> accepted = false;
  int ran = 0;
  pool p;
  group g{p, {.limit = 1}};
  add(g, [&] {
    started.open();
    go.wait();
  });
  started.wait();
  for (std::size_t i = 0; i < stored; ++i) add(g, [&] { ++ran; });
  EXPECT_EQ(g.try_do([] {}), errc::full);
  EXPECT_EQ(p.stats().rejected, 1u);
  {
    std::jthread blocked([&] {
      EXPECT_FALSE(g.run([&] { ++ran; }));
      accepted = true;
    });
    std::jthread later([&] {
      EXPECT_FALSE(accepted);
      go.open();
    });
  }
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, static_cast<int>(stored) + 1);
}

TEST(GroupLimit, BlockedRunIsCanceledWhenTheGroupStops) {
  gate started, go;
  pool p;
  group g{p, {.limit = 1}};
  add(g, [&] {
    started.open();
    go.wait();
  });
  started.wait();
  for (std::size_t i = 0; i < stored; ++i) add(g, [] {});
  std::error_code answer;
  {
    std::jthread blocked([&] { answer = g.run([] {}); });
    std::jthread stops([&] { g.request_stop(); });
  }
  EXPECT_EQ(answer, errc::canceled);
  go.open();
  EXPECT_EQ(g.wait(), errc::canceled);
}

TEST(GroupLimit, RunInATaskNeverBlocks) {
  std::atomic<int> ran{0};
  pool p;
  group g{p, {.limit = 1}};
  add(g, [&] {
    for (int i = 0; i < 200; ++i) EXPECT_FALSE(g.run([&] { ++ran; }));
    EXPECT_EQ(ran, 0);
  });
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 200);
}

TEST(GroupLimit, RunsEverythingWithoutAWaiter) {
  std::atomic<int> ran{0};
  pool p{{.workers = 3}};
  group g{p, {.limit = 2}};
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(g.run([&] { ++ran; }));
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 1000);
}

// --- on_workers

TEST(GroupOnWorkers, RunsNothingElsewhere) {
  std::set<std::size_t> started;
  std::mutex mutex;
  std::set<std::thread::id> hooked, ran_by;
  pool p{{.workers = 2, .on_worker_start = [&](std::size_t) {
            const std::lock_guard hold(mutex);
            hooked.insert(std::this_thread::get_id());
          }}};
  group g{p, {.on_workers = true}};
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(g.run([&] {
      const std::lock_guard hold(mutex);
      ran_by.insert(std::this_thread::get_id());
    }));
  }
  EXPECT_FALSE(g.wait());
  EXPECT_FALSE(ran_by.empty());
  for (const auto& id : ran_by) EXPECT_TRUE(hooked.contains(id));
}

TEST(GroupOnWorkers, WaitOnAWorkerWouldDeadlock) {
  pool p;
  group g{p, {.on_workers = true}};
  EXPECT_EQ(support::on_worker(p, [&] { return g.wait(); }), errc::would_deadlock);
  EXPECT_EQ(support::on_worker(p, [&] { return g.wait_for(1h); }), errc::would_deadlock);
  EXPECT_FALSE(g.wait());
}

TEST(GroupOnWorkers, RunBlocksForRoomAndOnAWorkerIsRefused) {
  std::atomic<int> ran{0};
  pool p;
  group g{p, {.on_workers = true}};
  EXPECT_EQ(support::on_worker(p,
                               [&] {
                                 for (std::size_t i = 0; i < stored; ++i) add(g, [&] { ++ran; });
                                 return g.run([&] { ++ran; });
                               }),
            errc::would_deadlock);
  for (int i = 0; i < 500; ++i) EXPECT_FALSE(g.run([&] { ++ran; }));
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 500 + static_cast<int>(stored));
}

TEST(GroupOnWorkers, IsClosedWithThePoolAndDrains) {
  for (const bool closes : {true, false}) {
    std::atomic<int> ran{0};
    pool p;
    std::optional<occupied<pool>> busy(p);
    group g{p, {.on_workers = true}};
    for (std::size_t i = 0; i < stored; ++i) add(g, [&] { ++ran; });
    std::error_code blocked;
    std::jthread submitter([&] { blocked = g.run([] {}); });
    std::jthread closer([&] { closes ? static_cast<void>(p.close()) : p.request_stop(); });
    submitter.join();
    EXPECT_EQ(blocked, ErrClosed);
    EXPECT_EQ(g.try_do([] {}), ErrClosed);
    busy.reset();
    EXPECT_FALSE(g.wait());
    EXPECT_EQ(ran, static_cast<int>(stored));
  }
}

TEST(GroupOnWorkers, MadeAfterTheCloseAcceptsNothing) {
  pool p;
  p.close();
  group g{p, {.on_workers = true}};
  EXPECT_EQ(g.try_do([] {}), ErrClosed);
  EXPECT_EQ(g.run([] {}), ErrClosed);
  EXPECT_FALSE(g.wait());
}

TEST(GroupOnWorkers, AcceptedMeansRunWheneverThePoolCloses) {
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> ran{0};
    int accepted = 0;
    pool p{{.workers = 2}};
    group g{p, {.on_workers = true}};
    {
      std::jthread closer([&] { p.close(); });
      for (int i = 0; i < 20; ++i) accepted += !g.try_do([&] { ++ran; });
    }
    EXPECT_EQ(ran, accepted);
  }
}

TEST(GroupOnWorkers, DestructorSkipsOnItsOwnThreadEvenOnAWorker) {
  std::atomic<int> ran{0};
  pool p;
  support::on_worker(p, [&] {
    group g{p, {.on_workers = true}};
    for (int i = 0; i < 10; ++i) add(g, [&] { ++ran; });
    return 0;
  });
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(p.stats().discarded, 10u);
}

TEST(GroupOnWorkers, HasALimitToo) {
  crowd tasks;
  pool p{{.workers = 3}};
  group g{p, {.limit = 2, .on_workers = true}};
  for (int i = 0; i < 500; ++i) EXPECT_FALSE(g.run([&] { tasks(); }));
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(tasks.all(), 500);
  EXPECT_LE(tasks.most(), 2);
}

}  // namespace
