// The observers, and what stats() counts.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::ErrClosed;
using fanout::ErrFull;
using fanout::pool;

void ignore(const fanout::error_info&) {}

TEST(Stats, OfNoPoolAreZero) {
  const fanout::stats none;
  EXPECT_EQ(none.accepted + none.completed + none.failed + none.discarded + none.rejected, 0u);
  EXPECT_EQ(none.queued + none.running + none.workers + none.capacity, 0u);
}

TEST(Stats, OfANewPoolAreZero) {
  const pool p{{.workers = 3, .buffer = 7}};
  const auto now = p.stats();
  EXPECT_EQ(now.accepted, 0u);
  EXPECT_EQ(now.completed, 0u);
  EXPECT_EQ(now.failed, 0u);
  EXPECT_EQ(now.discarded, 0u);
  EXPECT_EQ(now.rejected, 0u);
  EXPECT_EQ(now.queued, 0u);
  EXPECT_EQ(now.running, 0u);
  EXPECT_EQ(now.workers, 3u);
  EXPECT_EQ(now.capacity, 7u);
}

TEST(Stats, CountWhatCompletedAndWhatFailed) {
  pool p{{.workers = 2, .on_error = ignore}};
  for (int i = 0; i < 30; ++i) {
    ASSERT_FALSE(p.try_do([i] {
      if (i % 3 == 0) throw i;
    }));
  }
  ASSERT_FALSE(p.wait_idle());
  const auto now = p.stats();
  EXPECT_EQ(now.accepted, 30u);
  EXPECT_EQ(now.completed, 20u);
  EXPECT_EQ(now.failed, 10u);
  EXPECT_EQ(now.queued, 0u);
  EXPECT_EQ(now.running, 0u);
}

TEST(Stats, TellWhatWaitsAndWhatRuns) {
  pool p{{.workers = 2, .buffer = 5}};
  support::occupied busy(p);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(p.size(), i);
    EXPECT_EQ(p.stats().queued, i);
    ASSERT_FALSE(p.try_do([] {}));
  }
  EXPECT_EQ(p.size(), 5u);
  EXPECT_EQ(p.stats().queued, 5u);
  EXPECT_EQ(p.stats().running, 2u);
  EXPECT_EQ(p.stats().accepted, 7u);
  EXPECT_EQ(p.stats().completed, 0u);
  busy.release();
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(p.size(), 0u);
  EXPECT_EQ(p.stats().running, 0u);
  EXPECT_EQ(p.stats().completed, 7u);
}

TEST(Stats, WaitingTaskIsNotRunningThoughAWorkerIsFree) {
  support::gate go;
  pool p{{.on_worker_start = [&](std::size_t) { go.wait(); }}};
  ASSERT_FALSE(p.try_do([] {}));
  EXPECT_EQ(p.stats().queued, 1u);
  EXPECT_EQ(p.stats().running, 0u);
  go.open();
  ASSERT_FALSE(p.wait_idle());
}

TEST(Stats, RejectedCountsCallsThatAnsweredFullOnly) {
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  EXPECT_EQ(p.stats().rejected, 0u);
  for (std::uint64_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(p.try_do([] {}), ErrFull);
    EXPECT_EQ(p.stats().rejected, i);
  }
  EXPECT_EQ(p.try_do_for(std::chrono::seconds(0), [] {}), errc::timed_out);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(p.do_wait([] {}, stop.get_token()), errc::canceled);
  EXPECT_EQ(p.try_do(std::function<void()>()), errc::empty_task);
  p.request_stop();
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
  EXPECT_EQ(p.stats().rejected, 3u);
  EXPECT_EQ(p.stats().accepted, 2u);
}

TEST(Stats, RejectedCountsABulkThatAnsweredFullOnce) {
  pool p{{.buffer = 2}};
  support::occupied busy(p);
  const std::vector<std::function<void()>> tasks(5, [] {});
  const auto result = p.try_do_bulk(tasks);
  EXPECT_EQ(result.accepted, 2u);
  EXPECT_EQ(result.error, ErrFull);
  EXPECT_EQ(p.stats().rejected, 1u);
  EXPECT_EQ(p.stats().accepted, 3u);
}

TEST(Stats, RejectedCountsRefusalsOnManyThreads) {
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) static_cast<void>(p.try_do([] {}));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(p.stats().rejected, 40000u);
}

TEST(Stats, DiscardedCountsWhatADeadlineCloseDropped) {
  pool p{{.buffer = 8, .on_error = ignore}};
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  ASSERT_FALSE(p.wait_idle());
  support::gate started;
  ASSERT_FALSE(p.try_do([&](std::stop_token token) {
    started.open();
    support::wait_until([&] { return token.stop_requested() && p.size() == 0; });
  }));
  started.wait();
  for (int i = 0; i < 8; ++i) ASSERT_FALSE(p.try_do([] {}));
  EXPECT_EQ(p.close_for(std::chrono::seconds(0)), errc::timed_out);
  const auto now = p.stats();
  EXPECT_EQ(now.accepted, 10u);
  EXPECT_EQ(now.completed, 1u);
  EXPECT_EQ(now.failed, 1u);
  EXPECT_EQ(now.discarded, 8u);
  EXPECT_EQ(now.queued, 0u);
  EXPECT_EQ(now.running, 0u);
}

// Positions of a ring whose capacity is no power of two are no counts; stats() must tell counts.
TEST(Stats, AcceptedCountsTasksWhateverTheCapacity) {
  for (const std::size_t n : {1u, 2u, 3u, 5u, 6u, 7u, 8u, 100u}) {
    pool p{{.buffer = n}};
    for (std::uint64_t i = 1; i <= 4 * n + 3; ++i) {
      ASSERT_FALSE(p.do_wait([] {}));
      ASSERT_EQ(p.stats().accepted, i) << "capacity " << n;
    }
    p.close();
    EXPECT_EQ(p.stats().accepted, 4 * n + 3);
    EXPECT_EQ(p.stats().completed, 4 * n + 3);
    EXPECT_EQ(p.size(), 0u);
  }
}

TEST(Stats, AtAnyTimeAreWithinTheirBounds) {
  std::atomic<bool> over = false;
  pool p{{.workers = 2, .buffer = 3, .on_error = ignore}};
  std::vector<std::thread> submitters;
  for (int t = 0; t < 2; ++t) {
    submitters.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        if (p.try_do([i] {
              if (i % 5 == 0) throw i;
            })) {
          std::this_thread::yield();
        }
      }
      over = true;
    });
  }
  fanout::stats before;
  std::size_t wrong = 0;
  while (!over) {
    const auto now = p.stats();
    wrong += now.queued <= 3 && now.running <= 2 && p.size() <= 3 ? 0u : 1u;
    wrong += now.completed + now.failed <= now.accepted ? 0u : 1u;
    wrong += now.accepted >= before.accepted && now.completed >= before.completed &&
                     now.failed >= before.failed && now.rejected >= before.rejected
                 ? 0u
                 : 1u;
    before = now;
  }
  for (auto& submitter : submitters) submitter.join();
  EXPECT_EQ(wrong, 0u);
  ASSERT_FALSE(p.wait_idle());
  const auto now = p.stats();
  EXPECT_EQ(now.accepted, now.completed + now.failed + now.discarded);
  EXPECT_EQ(now.accepted + now.rejected, 4000u);
}

TEST(Observers, AreNoexceptAndConst) {
  const pool p;
  EXPECT_TRUE(noexcept(p.name()));
  EXPECT_TRUE(noexcept(p.workers()));
  EXPECT_TRUE(noexcept(p.capacity()));
  EXPECT_TRUE(noexcept(p.size()));
  EXPECT_TRUE(noexcept(p.is_closed()));
  EXPECT_TRUE(noexcept(p.get_stop_token()));
  EXPECT_TRUE(noexcept(p.stats()));
}

TEST(Observers, WorkOnAWorkerAndAfterClose) {
  pool p{{.name = "cache", .workers = 2, .buffer = 9}};
  const auto seen = support::on_worker(p, [&] {
    return p.name() == "cache" && p.workers() == 2 && p.capacity() == 9 && !p.is_closed() &&
           p.stats().running == 1;
  });
  EXPECT_TRUE(seen);
  p.close();
  EXPECT_EQ(p.name(), "cache");
  EXPECT_EQ(p.workers(), 2u);
  EXPECT_EQ(p.capacity(), 9u);
  EXPECT_TRUE(p.is_closed());
  EXPECT_EQ(p.stats().completed, 1u);
}

}  // namespace
