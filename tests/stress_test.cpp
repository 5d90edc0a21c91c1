// Exactly once, no wake-up lost, and close decided for each submission: under load.

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "load.hpp"

namespace {

using support::answers;
using support::bitmap;
using support::dice;
using support::load;
using support::watchdog;

struct no_spins : fanout::default_policy {
  static constexpr unsigned spins = 0;
};
struct stirred : no_spins {
  using sync = support::stirred_sync;
};

// --- Exactly once

struct cell {
  std::size_t producers, workers, capacity;
  std::uint64_t stream;
};

/// One pool, its producers, and one of the ways to close it, while they submit or afterwards.
template <class Policy> void expect_exactly_once(const cell& c, std::size_t tasks) {
  using pool = fanout::basic_pool<Policy>;
  const std::string where = std::to_string(c.producers) + " producers, " +
                            std::to_string(c.workers) + " workers, capacity " +
                            std::to_string(c.capacity);
  dice draw(c.stream);
  const std::size_t share = tasks / c.producers;
  bitmap accepted(tasks), ran(tasks);
  std::vector<std::atomic<std::size_t>> offered(c.producers);
  std::vector<answers> told(c.producers);
  pool p{{.workers = c.workers, .buffer = c.capacity}};
  const watchdog<pool> progress(p, where);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < c.producers; ++t) {
    threads.emplace_back([&, t] {
      const support::plan mine{
          .first = t * share, .last = (t + 1) * share, .stream = c.stream + t + 1};
      told[t] = support::producer<pool>(p, accepted, ran, offered[t]).run(mine);
    });
  }

  const bool races = draw.one_in(2);
  if (races) {
    const std::size_t when = draw.below(share);
    support::wait_until([&] { return offered[0].load(std::memory_order_relaxed) >= when; });
  } else {
    for (auto& thread : threads) thread.join();
    threads.clear();
    if (draw.one_in(2)) {
      EXPECT_FALSE(p.wait_idle()) << where;  // without the help of a close
    }
  }
  std::uint64_t closers = 0;
  switch (draw.below(4)) {
    case 0: break;
    case 1: p.request_stop(); break;
    case 2: closers += p.do_wait([&p] { p.close(); }) ? 0u : 1u; break;
    default: static_cast<void>(p.close_for(std::chrono::hours::max())); break;
  }
  p.close();
  for (auto& thread : threads) thread.join();

  answers all;
  for (const answers& one : told) all += one;
  const auto stats = p.stats();
  ASSERT_EQ(ran.duplicates(), 0u) << where;
  ASSERT_TRUE(ran == accepted) << where << ": a task was lost, or ran though it was refused";
  ASSERT_EQ(all.touched, 0u) << where;
  ASSERT_EQ(all.attempts, all.accepted + all.full + all.timed_out + all.closed) << where;
  ASSERT_EQ(stats.accepted, all.accepted + closers) << where;
  ASSERT_EQ(stats.completed, stats.accepted) << where;
  ASSERT_EQ(stats.rejected, all.calls_full) << where;
  if (!races) {
    ASSERT_EQ(all.accepted, share * c.producers) << where;
  }
}

template <class Policy> class ExactlyOnce : public testing::Test {
 protected:
  /// With every mix of producers, workers and capacities.
  static void expect_in_every_cell(std::uint64_t stream) {
    const std::size_t tasks = load(std::is_same_v<Policy, stirred> ? 1600 : 3200);
    for (const std::size_t producers : {1u, 2u, 4u, 8u, 16u}) {
      for (const std::size_t workers : {1u, 2u, 4u, 8u, 16u}) {
        for (const std::size_t capacity : {1u, 2u, 3u, 7u, 64u, 1024u}) {
          stream += 100;
          SCOPED_TRACE("FANOUT_TEST_SEED=" + std::to_string(support::seed()));
          expect_exactly_once<Policy>({producers, workers, capacity, stream}, tasks);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
};
struct policy_names {
  template <class Policy> static std::string GetName(int) {
    return std::is_same_v<Policy, stirred>    ? "Stirred"
           : std::is_same_v<Policy, no_spins> ? "WithoutSpins"
                                              : "WithSpins";
  }
};
using policies = testing::Types<fanout::default_policy, no_spins, stirred>;
TYPED_TEST_SUITE(ExactlyOnce, policies, policy_names);

TYPED_TEST(ExactlyOnce, OnAllCores) { this->expect_in_every_cell(0); }

TYPED_TEST(ExactlyOnce, OnOneCore) {
  const support::one_core pinned;
  if (!pinned) GTEST_SKIP() << "no affinity here";
  this->expect_in_every_cell(1u << 30);
}

// --- Wake-ups

/// The platform under a pool, counting the workers that are about to sleep, and those that the
/// kernel did put to sleep and was told to wake.
struct sleep_counting_sync : fanout::detail::native_sync {
  inline static std::atomic<std::size_t> parked{0};
  inline static std::atomic<std::uint64_t> slept{0};

  static void park(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    parked.fetch_add(1);
    errno = 0;
    native_sync::park(word, expected);
    if (errno == 0) slept.fetch_add(1);  // otherwise EAGAIN: the wake came first
    parked.fetch_sub(1);
  }
};
template <class Policy> struct sleep_counting : Policy {
  using sync = sleep_counting_sync;
};

/// `trips` times: with every worker parked, one task. Each lost wake-up is a hang. Returns how many
/// workers slept.
template <class Policy> std::uint64_t round_trips(std::size_t workers, std::size_t trips) {
  using pool = fanout::basic_pool<sleep_counting<Policy>>;
  sleep_counting_sync::slept = 0;
  pool p{{.workers = workers, .buffer = 4}};
  const watchdog<pool> progress(p, "one task at a time");
  std::atomic<std::size_t> ran{0};
  for (std::size_t i = 1; i <= trips; ++i) {
    support::wait_until([&] { return sleep_counting_sync::parked == workers; });
    EXPECT_FALSE(p.try_do([&] { ran.fetch_add(1, std::memory_order_release); }));
    support::wait_until([&] { return ran.load(std::memory_order_acquire) == i; });
  }
  p.close();
  EXPECT_EQ(p.stats().completed, trips);
  const std::uint64_t slept = sleep_counting_sync::slept;
  std::printf("%zu round trips, %zu workers: %llu wakes of a sleeping worker\n", trips, workers,
              static_cast<unsigned long long>(slept));
  return slept;
}

TEST(WakeUp, OfASleepingWorkerIsNotLostInAMillionRoundTrips) {
  const support::one_core pinned;  // the submitter goes on when the worker is asleep
  const std::size_t trips = load(1'000'000);
  const auto slept = round_trips<no_spins>(1, trips);
  if (pinned) {
    EXPECT_GE(slept, trips * 9 / 10);
  }
}

TEST(WakeUp, OfOneOfSeveralSleepersIsNotLost) {
  const support::one_core pinned;
  for (const std::size_t workers : {2u, 4u}) {
    const std::size_t trips = load(100'000);
    const auto slept = round_trips<no_spins>(workers, trips);
    if (pinned) {
      EXPECT_GE(slept, trips * 9 / 10);
    }
  }
  round_trips<fanout::default_policy>(2, load(20'000));
}

// The next task comes at any point of the worker's way to sleep.
template <class Policy> class WakeUpThatRaces : public testing::Test {};
TYPED_TEST_SUITE(WakeUpThatRaces, policies, policy_names);

TYPED_TEST(WakeUpThatRaces, TheWayToSleepIsNotLost) {
  dice draw(1u << 20);
  for (const std::size_t workers : {1u, 2u, 4u}) {
    fanout::basic_pool<TypeParam> p{{.workers = workers, .buffer = 4}};
    const watchdog<fanout::basic_pool<TypeParam>> progress(p, "one task at a time");
    std::atomic<std::size_t> ran{0};
    for (std::size_t i = 1; i <= load(20'000); ++i) {
      support::think(draw, 300);
      ASSERT_FALSE(p.try_do([&] { ran.fetch_add(1, std::memory_order_release); }));
      support::wait_until([&] { return ran.load(std::memory_order_acquire) == i; });
    }
  }
}

// Two tasks that need each other, on two workers: neither may stay queued beside a sleeper.
TYPED_TEST(WakeUpThatRaces, AnotherReachesBothWorkers) {
  fanout::basic_pool<TypeParam> p{{.workers = 2, .buffer = 2}};
  const watchdog<fanout::basic_pool<TypeParam>> progress(p, "two tasks that meet");
  for (std::size_t i = 0; i < load(5000); ++i) {
    std::atomic<int> arrived{0};
    const auto meet = [&arrived] {
      ++arrived;
      while (arrived != 2) std::this_thread::yield();
    };
    ASSERT_FALSE(p.do_wait(meet));
    ASSERT_FALSE(p.do_wait(meet));
    ASSERT_FALSE(p.wait_idle());
  }
}

// Task k ends when the submitter has gone to sleep for the k-th time: while it runs the next one
// waits in the only slot, and the one after that has to block.
TEST(WakeUp, OfABlockedSubmitterIsNotLost) {
  struct watched_no_spins : no_spins {
    using sync = support::watched_sync;
  };
  using pool = fanout::basic_pool<watched_no_spins>;
  static constexpr std::size_t tasks = load(100'000);
  support::watched_sync::reset();
  pool p{{.buffer = 1}};
  const watchdog<pool> progress(p, "a submitter that blocks each time");
  for (std::size_t k = 1; k <= tasks; ++k) {
    ASSERT_FALSE(p.do_wait([k] {
      if (k + 2 > tasks) return;
      support::wait_until([k] { return support::watched_sync::blocks >= k; });
    }));
  }
  p.close();
  EXPECT_EQ(p.stats().completed, tasks);
  EXPECT_GE(support::watched_sync::blocks, tasks - 2);
}

}  // namespace
