// A group keeps its own tasks and is waited for as one; who waits helps, and helps nobody else.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <latch>
#include <limits>
#include <memory>
#include <new>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "count_allocations.hpp"
#include "support.hpp"

namespace {

using fanout::errc;
using fanout::group;
using fanout::pool;
using support::allocations;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

static_assert(!std::is_copy_constructible_v<group> && !std::is_move_constructible_v<group>);
static_assert(!std::is_copy_assignable_v<group> && !std::is_move_assignable_v<group>);
static_assert(std::is_same_v<fanout::basic_group<fanout::default_policy>, group>);

/// Adds a task to a group that takes it: run() refuses for no want of room.
template <class Group, class F> void add(Group& to, F&& f) {
  if (to.run(std::forward<F>(f))) std::abort();
}

/// A task that no queue of its pool runs: the pool's workers are occupied.
std::thread::id thread_of_a_task(group& g) {
  std::thread::id id;
  add(g, [&id] { id = std::this_thread::get_id(); });
  g.wait();
  return id;
}

// --- Waiting

TEST(GroupWait, ShowsWhatEveryTaskWrote) {
  pool p{{.workers = 2}};
  group g{p};
  std::vector<int> squares(1000);  // plain: wait() orders what the tasks write
  for (int i = 0; i < 1000; ++i) add(g, [&, i] { squares[static_cast<std::size_t>(i)] = i * i; });
  g.wait();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(squares[static_cast<std::size_t>(i)], i * i);
}

TEST(GroupWait, ComesAfterTheDestructionOfEveryTask) {
  struct capture {
    int* destroyed;
    explicit capture(int& count) : destroyed(&count) {}
    capture(capture&& from) noexcept : destroyed(std::exchange(from.destroyed, nullptr)) {}
    ~capture() {
      if (destroyed != nullptr) ++*destroyed;
    }
    void operator()() const {}
  };
  pool p{{.workers = 2}};
  for (int round = 0; round < 200; ++round) {
    std::array<int, 8> destroyed{};
    group g{p};
    for (int& count : destroyed) add(g, capture(count));
    g.wait();
    for (const int count : destroyed) ASSERT_EQ(count, 1);
  }
}

TEST(GroupWait, ReturnsAtOnceWithoutTasks) {
  pool p;
  group g{p};
  g.wait();
  EXPECT_FALSE(g.wait_for(std::chrono::hours::max()));
  EXPECT_EQ(g.skipped(), 0u);
}

TEST(GroupWait, LeavesTheGroupUsable) {
  pool p;
  group g{p};
  int sum = 0;
  for (int round = 1; round <= 3; ++round) {
    add(g, [&] { sum += round; });
    g.wait();
  }
  EXPECT_EQ(sum, 6);
}

TEST(GroupWait, IsForSeveralThreads) {
  pool p{{.workers = 2}};
  group g{p};
  std::vector<int> ran(400);
  for (int& each : ran) add(g, [&each] { each = 1; });
  const auto sum_after_wait = [&](int& sum) {
    g.wait();
    for (const int each : ran) sum += each;
  };
  int here = 0, there = 0;
  std::thread other([&] { sum_after_wait(there); });
  sum_after_wait(here);
  other.join();
  EXPECT_EQ(here, 400);
  EXPECT_EQ(there, 400);
}

TEST(GroupWait, RunsWhatComesWhileItSleeps) {
  support::watched_pool p;
  fanout::basic_group<support::watched_policy> g{p};
  const auto blocked = [] { return support::watched_sync::blocked.load() != 0; };
  gate started, inner;
  std::thread::id ran_on;
  add(g, [&] {
    started.open();
    support::wait_until(blocked);
    add(g, [&] {
      ran_on = std::this_thread::get_id();
      inner.open();
    });
    inner.wait();  // the one worker is in here
  });
  started.wait();
  g.wait();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(GroupWaitFor, TimesOutWhileATaskRuns) {
  pool p;
  group g{p};
  gate started, release;
  bool ended = false;
  add(g, [&] {
    started.open();
    release.wait();
    ended = true;
  });
  started.wait();
  EXPECT_EQ(g.wait_for(0s), errc::timed_out);
  EXPECT_EQ(g.wait_for(1ms), errc::timed_out);
  release.open();
  EXPECT_FALSE(g.wait_for(std::chrono::hours::max()));
  EXPECT_TRUE(ended);
}

TEST(GroupWaitFor, HelpsToo) {
  pool p;
  const occupied busy(p);
  group g{p};
  int ran = 0;
  for (int i = 0; i < 5; ++i) add(g, [&] { ++ran; });
  EXPECT_FALSE(g.wait_for(std::chrono::hours::max()));
  EXPECT_EQ(ran, 5);
}

TEST(GroupWaitFor, StartsNoTaskAfterItsDeadline) {
  pool p;
  const occupied busy(p);
  group g{p};
  int ran = 0;
  for (int i = 0; i < 5; ++i) {
    add(g, [&] {
      ++ran;
      const auto late = std::chrono::steady_clock::now() + 2ms;
      support::wait_until([&] { return std::chrono::steady_clock::now() > late; });
    });
  }
  EXPECT_EQ(g.wait_for(1ms), errc::timed_out);
  EXPECT_EQ(ran, 1);
  g.wait();
  EXPECT_EQ(ran, 5);
}

// --- Who runs what

TEST(Group, RunsItsTasksWithoutAWaiter) {
  pool p;
  group g{p};
  gate ran;
  std::thread::id id;
  add(g, [&] {
    id = std::this_thread::get_id();
    ran.open();
  });
  ran.wait();
  EXPECT_NE(id, std::this_thread::get_id());
}

// What a full pool refused is asked for again.
TEST(Group, RunsItsTasksWithoutAWaiterOnAPoolThatWasFull) {
  pool p{{.buffer = 1}};
  group g{p};
  gate ran;
  {
    const occupied busy(p);
    support::fill(p);
    add(g, [] {});
  }
  ASSERT_FALSE(p.wait_idle());
  add(g, [&] { ran.open(); });
  ran.wait();
}

TEST(Group, RunsTasksThatNeedEachOtherSideBySide) {
  pool p{{.workers = 2}};
  for (int round = 0; round < 300; ++round) {
    group g{p};
    std::latch both{2}, done{2};
    for (int i = 0; i < 2; ++i) {
      add(g, [&] {
        both.arrive_and_wait();
        done.count_down();
      });
    }
    done.wait();  // nobody helps
  }
}

TEST(Group, IsHelpedByItsWaiterWhenNoWorkerIsFree) {
  pool p{{.workers = 2}};
  const occupied busy(p);
  group g{p};
  EXPECT_EQ(thread_of_a_task(g), std::this_thread::get_id());
}

TEST(Group, FinishesOnAFullPool) {
  pool p{{.buffer = 1}};
  const occupied busy(p);
  support::fill(p);
  group g{p};
  EXPECT_EQ(thread_of_a_task(g), std::this_thread::get_id());
}

TEST(Group, FinishesOnAClosedPool) {
  pool p;
  p.close();
  group g{p};
  EXPECT_EQ(thread_of_a_task(g), std::this_thread::get_id());
}

TEST(Group, ItsWaiterRunsNeitherStrangersNorTasksOfOtherGroups) {
  pool p;
  occupied busy(p);
  std::thread::id stranger;
  bool other_ran = false;
  ASSERT_FALSE(p.try_do([&] { stranger = std::this_thread::get_id(); }));
  group other{p};
  add(other, [&] { other_ran = true; });
  group mine{p};
  EXPECT_EQ(thread_of_a_task(mine), std::this_thread::get_id());
  EXPECT_FALSE(other_ran);
  EXPECT_EQ(stranger, std::thread::id());

  busy.release();
  other.wait();
  p.wait_idle();
  EXPECT_TRUE(other_ran);
  EXPECT_NE(stranger, std::this_thread::get_id());
}

TEST(Group, TakesNothingOfTheBufferAndLeavesNothingBehind) {
  pool p{{.workers = 2, .buffer = 1}};
  occupied busy(p);
  for (int round = 0; round < 100; ++round) {
    group g{p};
    for (int i = 0; i < 100; ++i) add(g, [] {});
    EXPECT_EQ(p.size(), 0u);
    g.wait();
  }
  EXPECT_FALSE(p.try_do([] {}));  // the one place is free
  const auto stats = p.stats();
  EXPECT_EQ(stats.accepted, 10'003u);
  EXPECT_EQ(stats.completed, 10'000u);
  EXPECT_EQ(stats.rejected, 0u);
  EXPECT_EQ(stats.queued, 1u);
  EXPECT_EQ(stats.running, 2u);
}

TEST(Group, GivesThePoolsOtherTasksTheirTurn) {
  constexpr std::uint64_t plenty = 1'000'000;
  pool p;
  group g{p};
  std::uint64_t ran = 0, ran_before_stranger = 0;
  gate started, queued, stranger_ran;
  std::function<void()> again = [&] {  // keeps the group supplied until the stranger had its turn
    if (++ran < plenty && !stranger_ran.is_open()) add(g, [&] { again(); });
  };
  add(g, [&] {
    started.open();
    queued.wait();
    again();
  });
  started.wait();
  ASSERT_FALSE(p.try_do([&] {
    ran_before_stranger = ran;
    stranger_ran.open();
  }));
  queued.open();
  stranger_ran.wait();
  EXPECT_LT(ran_before_stranger, 10'000u);
  g.wait();
}

// --- Submitting

TEST(GroupRun, IsNeverRefusedForWantOfRoom) {
  pool p{{.buffer = 1}};
  const occupied busy(p);
  support::fill(p);
  group g{p};
  int refused = 0, ran = 0;
  for (int i = 0; i < 1000; ++i) {
    if (g.run([&] { ++ran; })) ++refused;
  }
  EXPECT_GT(ran, 0) << "unstarted tasks are kept in bounded storage";
  g.wait();
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(ran, 1000);
}

TEST(GroupTryDo, AnswersFullAndLeavesTheCallableUntouched) {
  pool p;
  const occupied busy(p);
  group g{p};
  int ran = 0, taken = 0;
  auto task = [&ran, proof = std::make_unique<int>(1)] { ran += *proof; };
  while (!g.try_do([&] { ++ran; }) && taken < 1'000'000) ++taken;
  EXPECT_EQ(g.try_do(std::move(task)), errc::full);
  EXPECT_EQ(ran, 0);
  ASSERT_FALSE(g.run(std::move(task)));  // untouched, it can run here at once
  EXPECT_EQ(ran, 1);
  g.wait();
  EXPECT_EQ(ran, taken + 1);
}

TEST(Group, RefusesEmptyTasks) {
  pool p;
  group g{p};
  void (*const null)() = nullptr;
  EXPECT_EQ(g.try_do(std::function<void()>()), errc::empty_task);
  EXPECT_EQ(g.run(std::function<void()>()), errc::empty_task);
  EXPECT_EQ(g.run(null), errc::empty_task);
  g.wait();
}

TEST(Group, CallsATaskOnceAsARvalueWithItsToken) {
  struct once {
    bool* given;
    std::stop_token own;
    void operator()(const std::stop_token& token) && { *given = token == own; }
  };
  pool p;
  group g{p};
  bool given = false;
  add(g, once{&given, g.get_stop_token()});
  g.wait();
  EXPECT_TRUE(given);
  EXPECT_NE(g.get_stop_token(), p.get_stop_token());
}

TEST(Group, TokenAskedForDuringAStopRequestIsStopped) {
  pool p;
  for (int round = 0; round < 200; ++round) {
    group g{p};
    std::latch both(2);
    std::stop_token token;
    std::thread asking([&] {
      both.arrive_and_wait();
      token = g.get_stop_token();
    });
    both.arrive_and_wait();
    g.request_stop();
    asking.join();
    ASSERT_TRUE(token.stop_requested());
  }
}

TEST(Group, TakesTasksThatFitNoSlot) {
  struct large {
    int* ran;
    std::array<std::byte, 500> ballast{};
    void operator()() const { ++*ran; }
  };
  pool p;
  const occupied busy(p);
  group g{p};
  int ran = 0;
  for (int i = 0; i < 100; ++i) add(g, large{&ran});
  g.wait();
  EXPECT_EQ(ran, 100);
}

TEST(Group, LosesNothingThroughASmallBuffer) {
  pool p{{.workers = 2, .buffer = 8}};
  for (int round = 0; round < 200; ++round) {
    std::array<std::atomic<int>, 100> runs{};
    group g{p};
    for (auto& each : runs) add(g, [&each] { each.fetch_add(1, std::memory_order_relaxed); });
    g.wait();
    for (const auto& each : runs) ASSERT_EQ(each.load(std::memory_order_relaxed), 1);
  }
}

TEST(Group, TakesTasksOfManyThreadsWhileOthersWait) {
  pool p{{.workers = 2, .buffer = 2}};
  group g{p};
  std::vector<std::atomic<int>> runs(4 * 500);
  std::atomic<bool> submitting = true;
  std::vector<std::thread> waiters, submitters;
  for (int i = 0; i < 2; ++i) {
    waiters.emplace_back([&] {
      while (submitting) g.wait();
    });
  }
  for (std::size_t i = 0; i < 4; ++i) {
    submitters.emplace_back([&, i] {
      for (std::size_t j = 0; j < 500; ++j) add(g, [&, k = i * 500 + j] { ++runs[k]; });
    });
  }
  for (auto& each : submitters) each.join();
  submitting = false;
  g.wait();
  for (auto& each : waiters) each.join();
  for (const auto& each : runs) ASSERT_EQ(each.load(), 1);
}

// --- What it costs

TEST(Group, MakesOneAllocationAndNoneForATask) {
  if (!allocations::are_counted) GTEST_SKIP() << "this runtime counts no allocations";
  pool p;
  const occupied busy(p);
  std::array<int, 20> ran{};
  const auto before = allocations::made.load();
  {
    group g{p};
    EXPECT_EQ(allocations::made.load() - before, 1u);
    for (int& each : ran) {
      if (g.try_do([&each, a = &ran, b = &before] {
            if (a != nullptr && b != nullptr) ++each;
          })) {
        std::abort();
      }
    }
    for (int& each : ran) add(g, [&each] { ++each; });
    g.wait();
  }
  EXPECT_EQ(allocations::made.load() - before, 1u);
  for (const int each : ran) EXPECT_EQ(each, 2);
}

TEST(Group, AcceptsNothingWhenTheAllocationOfATaskFails) {
  if (!allocations::are_counted) GTEST_SKIP() << "the operator new of this runtime stays";
  struct large {
    std::unique_ptr<int> proof = std::make_unique<int>(1);
    std::array<std::byte, 500> ballast{};
    void operator()() const {}
  };
  pool p;
  const occupied busy(p);
  group g{p};
  large task;
  allocations::until_failure = 0;
  EXPECT_THROW(static_cast<void>(g.run(std::move(task))), std::bad_alloc);
  allocations::until_failure = allocations::never;
  EXPECT_NE(task.proof, nullptr);
  EXPECT_EQ(p.size(), 0u);
  g.wait();
}

}  // namespace
