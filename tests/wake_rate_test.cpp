// options::wake_delay in numbers: wakes by submitters and timers at several rates, and how long a
// task waits, on a clock that only the test moves.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using support::watched_sync;

/// A platform whose time stands still until a test moves it. Knows where the one worker is.
struct set_clock_sync : watched_sync {
  enum place { awake, asleep, napping };
  inline static std::atomic<place> worker{awake};
  inline static std::atomic<nanoseconds> time{nanoseconds(1h)}, nap_ends{};
  inline static std::atomic<std::uint64_t> timers{0}, kicks{0};

  static fanout::detail::steady_time now() noexcept {
    return fanout::detail::steady_time(time.load());
  }
  static void park(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    worker = asleep;
    watched_sync::park(word, expected);
    worker = awake;
  }
  struct timed_parking {
    void park_until(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                    fanout::detail::steady_time deadline) noexcept {
      ++timers;
      nap_ends = deadline.time_since_epoch();
      worker = napping;
      support::wait_until([&] { return word != expected || now() >= deadline; });
      worker = awake;
    }
    void unpark(std::atomic<std::uint32_t>&) noexcept {
      ++kicks;
      worker = awake;
    }
  };
};
struct set_clock : fanout::default_policy {
  using sync = set_clock_sync;
};
using pool = fanout::basic_pool<set_clock>;

class WakeRate : public testing::Test {
 protected:
  static constexpr nanoseconds delay = 1ms;

  WakeRate() {
    watched_sync::reset();
    set_clock_sync::worker = set_clock_sync::awake;
    set_clock_sync::timers = 0;
    set_clock_sync::kicks = 0;
  }

  static fanout::options options(std::size_t buffer = 1024) {
    return {.buffer = buffer, .wake_delay = delay};
  }

  /// Returns when the worker sleeps and nothing waits, or naps: until a task comes or time passes,
  /// nothing more happens.
  static void settle(const pool& p) {
    support::wait_until([&] {
      const auto stats = p.stats();
      const auto where = set_clock_sync::worker.load();
      return (where == set_clock_sync::asleep && stats.completed == stats.accepted) ||
             (where == set_clock_sync::napping &&
              set_clock_sync::time.load() < set_clock_sync::nap_ends.load());
    });
  }
  static void pass(const pool& p, nanoseconds time) {
    set_clock_sync::time = set_clock_sync::time.load() + time;
    settle(p);
  }

  /// Submits `n` tasks, one each `period`. Returns how often the submitter woke the worker.
  std::uint64_t submit(pool& p, std::size_t n, nanoseconds period) {
    const auto before = watched_sync::own_unparks + set_clock_sync::kicks;
    for (std::size_t i = 0; i < n; ++i) {
      pass(p, period);
      const auto accepted_at = set_clock_sync::time.load();
      EXPECT_FALSE(p.try_do([this, accepted_at] {
        longest_wait = std::max(longest_wait, set_clock_sync::time.load() - accepted_at);
      }));
      settle(p);
    }
    return watched_sync::own_unparks + set_clock_sync::kicks - before;
  }

  nanoseconds longest_wait{0};  // the worker writes it; read when it has settled
};

// The first two tell that work keeps coming.
TEST_F(WakeRate, SubmittersWakeTheWorkerOnlyAtTheBeginningOfAFastStream) {
  pool p{options()};
  EXPECT_LE(submit(p, 1000, 10us), 3u);
  EXPECT_GE(set_clock_sync::timers, 9u);
  EXPECT_LE(set_clock_sync::timers, 11u);  // one a delay
}

TEST_F(WakeRate, TwoTasksADelayAreAFastStream) {
  pool p{options()};
  EXPECT_LE(submit(p, 200, 400us), 3u);
}

TEST_F(WakeRate, NoTaskWaitsForMoreThanADelay) {
  for (const nanoseconds period : {10us, 90us, 333us, 499us, 700us, 999us}) {
    pool p{options()};
    longest_wait = 0ns;
    submit(p, 100, period);
    for (nanoseconds passed{0}; passed < delay; passed += period) pass(p, period);
    EXPECT_EQ(p.stats().completed, 100u) << period.count();
    EXPECT_LT(longest_wait, delay + period) << period.count();  // time goes on in such steps
  }
}

TEST_F(WakeRate, SlowStreamArmsNoTimerAndWaitsForNothing) {
  pool p{options()};
  settle(p);
  EXPECT_EQ(submit(p, 100, 2 * delay), 100u);
  EXPECT_EQ(longest_wait, 0ns);
  EXPECT_EQ(set_clock_sync::timers, 0u);
}

TEST_F(WakeRate, HalfABufferCostsOneWake) {
  constexpr std::size_t half = 32, n = 10 * half;
  pool p{options(2 * half)};
  submit(p, 2, 1us);  // then the worker naps, and each nap begins over an empty buffer
  EXPECT_EQ(submit(p, n, 1us), n / half);
  EXPECT_EQ(longest_wait, nanoseconds(half - 1) * 1000);
}

TEST_F(WakeRate, QuietPoolArmsNoTimerAndWakesNobody) {
  pool p{options()};
  settle(p);
  for (int i = 0; i < 10; ++i) pass(p, 10 * delay);
  EXPECT_EQ(set_clock_sync::timers, 0u);
  EXPECT_EQ(watched_sync::parks, 1u);

  submit(p, 100, 10us);
  pass(p, delay);  // the nap that gathers the last of them
  pass(p, delay);  // at most one that gathers nothing
  const auto timers = set_clock_sync::timers.load();
  const auto parks = watched_sync::parks.load();
  EXPECT_EQ(set_clock_sync::worker.load(), set_clock_sync::asleep);
  for (int i = 0; i < 10; ++i) pass(p, 10 * delay);
  EXPECT_EQ(set_clock_sync::timers, timers);
  EXPECT_EQ(watched_sync::parks, parks);
}

TEST_F(WakeRate, FirstTaskAfterAQuietSpellStartsAtOnce) {
  pool p{options()};
  for (int round = 0; round < 10; ++round) {
    submit(p, 50, 10us);
    pass(p, 2 * delay);
    pass(p, 2 * delay);
    longest_wait = 0ns;
    EXPECT_EQ(submit(p, 1, 2 * delay), 1u);
    EXPECT_EQ(p.stats().completed, p.stats().accepted);
    EXPECT_EQ(longest_wait, 0ns);
  }
}

}  // namespace
