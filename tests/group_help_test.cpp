// Workers help groups whatever the buffer holds; what groups hold counts for stats, wait_idle and
// close; run() nests so deep and no deeper.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
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

template <class Group, class F> void add(Group& to, F&& f) {
  if (to.try_do(std::forward<F>(f))) std::abort();
}

// --- Help

TEST(GroupHelp, ComesThoughTheBufferIsFull) {
  gate ran;
  pool p{{.workers = 2, .buffer = 2}};
  group g{p};
  occupied busy(p);
  support::fill(p);
  add(g, [&] { ran.open(); });
  busy.release();
  ran.wait();  // on a worker: nobody waits for the group
}

TEST(GroupHelp, WakesAsManyWorkersAsThereAreTasks) {
  constexpr std::size_t workers = 4;
  std::latch all{workers};
  pool p{{.workers = workers}};
  group g{p};
  for (std::size_t i = 0; i < workers; ++i) add(g, [&] { all.arrive_and_wait(); });
  all.wait();  // or the test's timeout
}

// Neither the buffer's tasks nor a group's starve the other, be there ever so many.
TEST(GroupHelp, AndTheBufferTakeTurns) {
  std::atomic<bool> task_ran = false, group_ran = false, over = false;
  pool p{{.workers = 1, .buffer = 64}};
  group g{p};
  std::function<void()> again = [&] {
    if (!over) static_cast<void>(p.try_do([&] { again(); }));
    if (group_ran) task_ran = true;
  };
  std::function<void()> again_in_group = [&] {
    group_ran = true;
    if (!over) static_cast<void>(g.try_do([&] { again_in_group(); }));
  };
  for (int i = 0; i < 40; ++i) ASSERT_FALSE(p.try_do([&] { again(); }));
  support::wait_until([&] { return p.stats().completed > 100; });
  add(g, [&] { again_in_group(); });
  support::wait_until([&] { return group_ran && task_ran; });
  over = true;
  p.wait_idle();
}

TEST(GroupHelp, OfOneGroupDoesNotStarveAnother) {
  std::atomic<bool> over = false;
  gate other_ran;
  pool p;
  group endless{p}, other{p};
  std::function<void()> again = [&] {
    if (!over) static_cast<void>(endless.try_do([&] { again(); }));
  };
  for (int i = 0; i < 4; ++i) add(endless, [&] { again(); });
  add(other, [&] { other_ran.open(); });
  other_ran.wait();
  over = true;
  p.wait_idle();
}

TEST(GroupHelp, IsARunForTheIdleHook) {
  std::atomic<int> hooks{0};
  pool p{{.on_worker_idle = [&](std::size_t) { ++hooks; }}};
  group g{p};
  gate ran;
  add(g, [&] { ran.open(); });
  ran.wait();
  p.wait_idle();
  EXPECT_EQ(hooks, 1);
}

// --- What groups hold counts

TEST(GroupHelp, IsWaitedForByWaitIdle) {
  gate started, go;
  std::atomic<bool> ended = false;
  pool p;
  group g{p};
  add(g, [&] {
    started.open();
    go.wait();
    ended = true;
  });
  started.wait();
  EXPECT_EQ(p.stats().running, 1u);
  EXPECT_EQ(p.wait_idle_for(10ms), errc::timed_out);
  std::jthread later([&] { go.open(); });
  EXPECT_FALSE(p.wait_idle());
  EXPECT_TRUE(ended);
  EXPECT_EQ(p.stats().running, 0u);
}

TEST(GroupHelp, UnstartedTasksAreWaitedForByWaitIdleAndClose) {
  for (const bool closes : {false, true}) {
    std::atomic<int> ran{0};
    pool p;
    std::optional<occupied<pool>> busy(p);
    group g{p};
    for (int i = 0; i < 20; ++i) add(g, [&] { ++ran; });
    EXPECT_EQ(p.wait_idle_for(1ms), errc::timed_out);
    std::jthread later([&] { busy.reset(); });
    EXPECT_FALSE(closes ? p.close() : p.wait_idle());
    EXPECT_EQ(ran, 20);
    EXPECT_EQ(p.stats().completed, 21u);
  }
}

TEST(GroupHelp, WhatARunningThreadOfYoursRunsIsNotWaitedFor) {
  gate started, go;
  pool p;
  std::optional<occupied<pool>> busy(p);
  group g{p};
  add(g, [&] {
    started.open();
    go.wait();
  });
  std::jthread waiter([&] { EXPECT_FALSE(g.wait()); });
  started.wait();
  busy.reset();
  EXPECT_FALSE(p.wait_idle());
  go.open();
}

TEST(GroupHelp, GroupFilledAfterTheCloseRunsOnItsWaiter) {
  pool p;
  group g{p};
  p.close();
  std::thread::id ran_by;
  add(g, [&] { ran_by = std::this_thread::get_id(); });
  EXPECT_FALSE(p.wait_idle());  // at once
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran_by, std::this_thread::get_id());
  EXPECT_EQ(p.stats().completed, 1u);
}

TEST(GroupHelp, LateCloseSkipsWhatGroupsHold) {
  gate started;
  std::atomic<int> ran{0};
  pool p;
  group g{p};
  ASSERT_FALSE(p.try_do([&](std::stop_token token) {
    started.open();
    support::wait_until([&] { return token.stop_requested() && g.skipped() == 10; });
  }));
  started.wait();
  for (int i = 0; i < 10; ++i) add(g, [&] { ++ran; });
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(g.wait(), errc::canceled);
  const auto stats = p.stats();
  EXPECT_EQ(stats.discarded, 10u);
  EXPECT_EQ(stats.accepted, stats.completed + stats.discarded);
}

TEST(GroupHelp, MayOutliveTheirGroup) {
  std::atomic<std::uint64_t> ran{0};
  pool p{{.workers = 2}};
  constexpr int rounds = 3000;
  for (int round = 0; round < rounds; ++round) {
    group g{p};
    for (int i = 0; i < 3; ++i) add(g, [&] { ++ran; });
    g.wait();
  }
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 3u * rounds);
  EXPECT_EQ(p.stats().completed, 3u * rounds);
}

TEST(GroupTask, OnAWaiterCountsAsAWorkersTask) {
  pool p{{.buffer = 1}};
  std::vector<std::error_code> answers;
  occupied busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  {
    group g{p};
    add(g, [&] { answers = {p.wait_idle(), p.do_wait([] {}), p.close()}; });
    EXPECT_FALSE(g.wait());
  }
  ASSERT_EQ(answers.size(), 3u);
  for (const auto& answer : answers) EXPECT_EQ(answer, errc::would_deadlock);
  EXPECT_EQ(p.wait_idle_for(0s), errc::timed_out);  // no worker any more
}

TEST(GroupTask, OfTheThirdThreadThatWaitsCountsToo) {
  pool p;
  occupied busy(p);
  group g{p};
  std::atomic<int> refused{0};
  for (int i = 0; i < 3; ++i) {
    std::jthread waiter([&] {
      add(g, [&] { refused += p.wait_idle() == errc::would_deadlock; });
      EXPECT_FALSE(g.wait());
    });
  }
  EXPECT_EQ(refused, 3);
}

// --- Waiting

TEST(GroupWaitUntil, AnswersAsWaitFor) {
  pool p;
  group g{p};
  gate started, go;
  add(g, [&] {
    started.open();
    go.wait();
  });
  started.wait();
  EXPECT_EQ(g.wait_until(std::chrono::steady_clock::now()), errc::timed_out);
  EXPECT_EQ(g.wait_until(std::chrono::system_clock::now() + 1ms), errc::timed_out);
  go.open();
  EXPECT_FALSE(g.wait_until(std::chrono::steady_clock::now() + 1h));
}

TEST(GroupWait, AnswersCanceledOnceSomethingWasSkipped) {
  pool p;
  occupied busy(p);
  group g{p};
  EXPECT_FALSE(g.wait());
  add(g, [] {});
  EXPECT_FALSE(g.wait());
  add(g, [] {});
  g.request_stop();
  EXPECT_EQ(g.wait(), errc::canceled);
  EXPECT_EQ(g.wait_for(0s), errc::canceled);
}

// --- Nesting

/// A task that runs others and then its successor.
struct successor {
  pool& on;
  group& in;
  std::atomic<std::uint64_t>& ran;
  std::atomic<std::size_t>& deepest;
  int left;
  inline static thread_local std::size_t depth = 0;

  void operator()() const {
    ++depth;
    deepest = std::max(deepest.load(), depth);
    ++ran;
    for (int i = 0; i < 40; ++i) static_cast<void>(in.run([&count = ran] { ++count; }));
    if (left > 0) static_cast<void>(in.run(successor{on, in, ran, deepest, left - 1}));
    --depth;
  }
};

TEST(GroupRun, NestsAtMostSixtyFourDeepAndLosesNothing) {
  constexpr int generations = 3000;
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::size_t> deepest{0};
  pool p;
  occupied busy(p);  // so that this thread runs them all
  group g{p};
  ASSERT_FALSE(g.run(successor{p, g, ran, deepest, generations}));
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 41u * (generations + 1));
  EXPECT_LE(deepest, 65u);  // under wait
  EXPECT_GT(deepest, 32u);
}

TEST(GroupRun, NestsNoDeeperOverSeveralGroups) {
  std::size_t depth = 0, deepest = 0;
  pool p;
  occupied busy(p);
  constexpr std::size_t levels = 200;
  std::vector<std::unique_ptr<group>> groups;
  for (std::size_t i = 0; i < levels; ++i) {
    groups.push_back(std::make_unique<group>(p));
    for (int k = 0; k < 32; ++k) add(*groups.back(), [] {});  // full: the next runs on the caller
  }
  std::function<void(std::size_t)> go = [&](std::size_t level) {
    deepest = std::max(deepest, ++depth);
    if (level < levels) static_cast<void>(groups[level]->run([&, level] { go(level + 1); }));
    --depth;
  };
  go(0);
  EXPECT_EQ(deepest, 65u);
  for (auto& g : groups) EXPECT_FALSE(g->wait());
}

}  // namespace
