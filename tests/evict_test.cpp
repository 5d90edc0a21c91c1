// do_evict: a full buffer gives up its oldest task, exactly one; purge: what waits is dropped, and
// the pool goes on.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "count_allocations.hpp"
#include "support.hpp"

namespace {

using fanout::errc;
using fanout::ErrClosed;
using fanout::pool;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

// --- Eviction

TEST(Evict, IsASubmissionWhereThereIsRoom) {
  bool ran = false;
  pool p;
  ASSERT_FALSE(p.do_evict([&] { ran = true; }));
  EXPECT_FALSE(p.close());
  EXPECT_TRUE(ran);
  EXPECT_EQ(p.stats().discarded, 0u);
}

TEST(Evict, DropsTheOldestAndKeepsTheOrder) {
  for (const std::size_t buffer : {1u, 2u, 3u, 7u, 64u}) {
    std::vector<std::size_t> ran;
    pool p{{.buffer = buffer}};
    std::optional<occupied<pool>> busy(p);
    const std::size_t all = 3 * buffer + 1;
    for (std::size_t i = 0; i < all; ++i) {
      ASSERT_FALSE(p.do_evict([&ran, i] { ran.push_back(i); }));
      EXPECT_EQ(p.size(), i < buffer ? i + 1 : buffer);
    }
    EXPECT_EQ(p.stats().discarded, all - buffer);
    EXPECT_EQ(p.stats().rejected, 0u);
    busy.reset();
    p.close();
    ASSERT_EQ(ran.size(), buffer);
    for (std::size_t i = 0; i < buffer; ++i) EXPECT_EQ(ran[i], all - buffer + i);
  }
}

TEST(Evict, DestroysWhatItDropsOnTheCallingThread) {
  pool p{{.buffer = 1}};
  occupied busy(p);
  std::thread::id destroyed_by;
  int nothing = 0;
  const auto note = [&](int*) { destroyed_by = std::this_thread::get_id(); };
  ASSERT_FALSE(p.try_do([held = std::shared_ptr<int>(&nothing, note)] {}));
  ASSERT_FALSE(p.do_evict([] {}));
  EXPECT_EQ(destroyed_by, std::this_thread::get_id());
}

TEST(Evict, RefusesEmptyTasksAndAClosedPool) {
  pool p{{.buffer = 1}};
  occupied busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  EXPECT_EQ(p.do_evict(std::function<void()>()), errc::empty_task);
  EXPECT_EQ(p.stats().discarded, 0u);
  p.request_stop();
  auto kept = std::make_unique<int>(1);
  auto task = [held = std::move(kept)] {};
  EXPECT_EQ(p.do_evict(std::move(task)), ErrClosed);
  EXPECT_EQ(p.stats().discarded, 0u);
}

TEST(Evict, MayBeCalledByATask) {
  pool p{{.buffer = 1}};
  const auto answer = support::on_worker(p, [&] {
    static_cast<void>(p.try_do([] {}));
    return p.do_evict([] {});
  });
  EXPECT_FALSE(answer);
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(p.stats().discarded, 1u);
}

TEST(Evict, GivesABlockedSubmitterNoRoom) {
  pool p{{.buffer = 1}};
  std::optional<occupied<pool>> busy(p);
  std::atomic<bool> accepted = false;
  ASSERT_FALSE(p.try_do([] {}));
  {
    std::jthread blocked([&] {
      EXPECT_FALSE(p.do_wait([] {}));
      accepted = true;
    });
    for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.do_evict([] {}));
    busy.reset();
  }
  EXPECT_TRUE(accepted);
  EXPECT_FALSE(p.wait_idle());
  EXPECT_GE(p.stats().discarded, 99u);
}

TEST(Evict, AllocatesNothing) {
  if (!support::allocations::are_counted) GTEST_SKIP() << "this runtime counts no allocations";
  pool p{{.buffer = 2}};
  occupied busy(p);
  for (int i = 0; i < 2; ++i) ASSERT_FALSE(p.try_do([] {}));
  const auto before = support::allocations::made.load();
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.do_evict([] {}));
  EXPECT_EQ(support::allocations::made, before);
}

/// Counts each of its tasks once: run, dropped, or refused.
struct ledger {
  explicit ledger(std::size_t tasks) : ends(tasks) {}
  std::vector<std::atomic<int>> ends;
};
struct entry : fanout::discardable {
  std::atomic<int>* end;
  explicit entry(std::atomic<int>& of) : end(&of) {}
  void operator()() { *end += 1; }
  void discard() noexcept { *end += 10; }
};

// Threads evict, purge, submit and take at a time: each task that was accepted runs or is dropped
// once, and what is counted is what happened.
TEST(Evict, LosesAndDoublesNothingOnManyThreads) {
  constexpr std::size_t threads = 4, each = 3000;
  for (const std::size_t buffer : {1u, 2u, 3u, 16u}) {
    ledger all(threads * each);
    std::atomic<std::uint64_t> refused{0}, purged{0};
    pool p{{.workers = 2, .buffer = buffer}};
    {
      std::vector<std::jthread> submitters;
      for (std::size_t t = 0; t < threads; ++t) {
        submitters.emplace_back([&, t] {
          for (std::size_t i = 0; i < each; ++i) {
            auto& end = all.ends[t * each + i];
            if (i % 16 == 15) purged += p.purge();
            const auto answer = i % 3 == 0 ? p.try_do(entry(end)) : p.do_evict(entry(end));
            if (!answer) continue;
            EXPECT_EQ(answer, errc::full);
            end = 100;
            ++refused;
          }
        });
      }
    }
    p.close();
    std::uint64_t ran = 0, dropped = 0;
    for (const auto& end : all.ends) {
      ran += end == 1;
      dropped += end == 10;
    }
    const auto stats = p.stats();
    EXPECT_EQ(ran + dropped + refused, threads * each);
    EXPECT_EQ(stats.completed, ran);
    EXPECT_EQ(stats.discarded, dropped);
    EXPECT_EQ(stats.rejected, refused);
    EXPECT_EQ(stats.accepted, ran + dropped);
    EXPECT_GE(dropped, purged);
  }
}

// The close may come between the two exchanges of an eviction: then the oldest is dropped, and the
// new one refused.
TEST(Evict, LosesNothingToAClose) {
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> ends[3] = {0, 0, 0};
    pool p{{.buffer = 1}};
    std::optional<occupied<pool>> busy(p);
    ASSERT_FALSE(p.try_do(entry(ends[0])));
    std::error_code answer;
    {
      std::jthread evictor([&] { answer = p.do_evict(entry(ends[1])); });
      std::jthread closer([&] { p.request_stop(); });
    }
    busy.reset();
    p.close();
    const auto stats = p.stats();
    if (answer) {
      EXPECT_EQ(answer, ErrClosed);
      EXPECT_EQ(ends[1], 0);
      EXPECT_TRUE(ends[0] == 1 || ends[0] == 10);
      EXPECT_EQ(stats.accepted, 2u);
    } else {
      EXPECT_EQ(ends[0], 10);
      EXPECT_EQ(ends[1], 1);
      EXPECT_EQ(stats.accepted, 3u);
    }
    EXPECT_EQ(stats.accepted, stats.completed + stats.discarded);
  }
}

// --- Purge

TEST(Purge, DropsWhatWaitsAndThePoolGoesOn) {
  int ran = 0;
  pool p;
  occupied busy(p);
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_EQ(p.purge(), 10u);
  EXPECT_EQ(p.size(), 0u);
  EXPECT_EQ(p.purge(), 0u);
  EXPECT_EQ(p.stats().discarded, 10u);
  ASSERT_FALSE(p.try_do([&] { ++ran; }));
  busy.release();
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(p.close());  // success: an earlier purge is not the closing's
  EXPECT_EQ(p.purge(), 0u);
}

TEST(Purge, DropsNothingThatWasAcceptedLater) {
  std::atomic<int> ran{0};
  pool p;
  occupied busy(p);
  struct submits_when_told : fanout::discardable {
    pool* to;
    std::atomic<int>* count;
    submits_when_told(pool& on, std::atomic<int>& of) : to(&on), count(&of) {}
    void operator()() {}
    void discard() noexcept {
      if (!to->try_do([of = count] { ++*of; })) return;
      std::abort();
    }
  };
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do(submits_when_told(p, ran)));
  EXPECT_EQ(p.purge(), 3u);
  EXPECT_EQ(p.size(), 3u);
  busy.release();
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 3);
}

TEST(Purge, GivesBlockedSubmittersRoom) {
  pool p{{.buffer = 2}};
  occupied busy(p);
  support::fill(p);
  std::jthread a([&] { EXPECT_FALSE(p.do_wait([] {})); });
  std::jthread b([&] { EXPECT_FALSE(p.do_wait([] {})); });
  std::uint64_t purged = 0;
  support::wait_until([&] {
    purged += p.purge();
    return purged >= 2 && p.stats().accepted == 5;
  });
  a.join();
  b.join();
}

TEST(Purge, TellsWhoWaitsForIdleness) {
  pool p;
  std::optional<occupied<pool>> busy(p);
  gate waits;
  ASSERT_FALSE(p.try_do([] {}));
  std::jthread waiter([&] {
    waits.open();
    EXPECT_FALSE(p.wait_idle());
  });
  waits.wait();
  busy.reset();
  p.purge();
}

TEST(Purge, LeavesGroupsAlone) {
  int ran = 0;
  pool p;
  occupied busy(p);
  fanout::group g{p};
  ASSERT_FALSE(g.try_do([&] { ++ran; }));
  EXPECT_EQ(p.purge(), 0u);
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 1);
}

}  // namespace
