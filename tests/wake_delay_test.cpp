// options::wake_delay: while work keeps coming one worker looks once a delay; who must not wait for
// that does not.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <latch>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using support::watched_sync;

/// A platform in which a nap ends by a kick, or when a test says that its time is over, and by no
/// clock: whoever leans on the timer hangs.
struct timeless_sync : watched_sync {
  inline static std::atomic<std::uint64_t> naps{0};
  inline static std::atomic<std::uint64_t> kicks{0};
  inline static std::atomic<bool> is_over{false};  // the nap that stands, or else the next

  struct timed_parking {
    void park_until(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                    fanout::detail::steady_time) {
      ++naps;
      support::wait_until([&] { return is_over || word.load() != expected; });
      if (is_over.exchange(false)) late = true;
    }
    void unpark(std::atomic<std::uint32_t>&) { ++kicks; }
  };
  inline static thread_local bool late = false;
  static fanout::detail::steady_time now() {
    // An hour has passed for a nap that is over; the clock of the others goes on.
    const auto time = native_sync::now();
    return std::exchange(late, false) ? time + 2h : time;
  }
};
struct timeless : fanout::default_policy {
  using sync = timeless_sync;
};
using pool = fanout::basic_pool<timeless>;

class WakeDelay : public testing::Test {
 protected:
  WakeDelay() {
    watched_sync::reset();
    timeless_sync::naps = 0;
    timeless_sync::kicks = 0;
    timeless_sync::is_over = false;
  }

  static fanout::options options(std::size_t workers = 1, std::size_t buffer = 1024) {
    return {.workers = workers, .buffer = buffer, .wake_delay = 1h};
  }

  /// Submits one task after another until a worker naps.
  static void make_nap(pool& p) {
    const auto before = timeless_sync::naps.load();
    for (std::uint64_t done = p.stats().completed; timeless_sync::naps == before;) {
      const auto parks = watched_sync::parks.load();
      ASSERT_FALSE(p.try_do([] {}));
      ++done;
      support::wait_until([&] {
        return p.stats().completed == done &&
               (watched_sync::parks > parks || timeless_sync::naps > before);
      });
    }
  }
};

TEST_F(WakeDelay, OutOfRangeIsRefusedByItsNameAndLimits) {
  const auto text_of = [](std::chrono::nanoseconds delay) -> std::string {
    try {
      pool p{{.wake_delay = delay}};
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_EQ(text_of(-1ns),
            "fanout: options::wake_delay is -1 ns; it must be 0 to 3600000000000 ns");
  EXPECT_EQ(text_of(1h + 1ns),
            "fanout: options::wake_delay is 3600000000001 ns; it must be 0 to 3600000000000 ns");
  EXPECT_EQ(text_of(0ns), "accepted");
  EXPECT_EQ(text_of(1h), "accepted");
}

TEST_F(WakeDelay, SubmittersWakeNobodyDuringANap) {
  pool p{options()};
  make_nap(p);
  const auto unparks = watched_sync::unparks.load();
  std::atomic<int> ran{0};
  for (int i = 0; i < 500; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_EQ(watched_sync::unparks, unparks);
  EXPECT_EQ(timeless_sync::kicks, 0u);
  EXPECT_EQ(ran, 0);
  timeless_sync::is_over = true;
  support::wait_until([&] { return ran == 500; });
}

TEST_F(WakeDelay, HalfTheBufferEndsTheNap) {
  pool p{options(1, 7)};  // half of it is 4
  make_nap(p);
  std::atomic<int> ran{0};
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_EQ(timeless_sync::kicks, 0u);
  EXPECT_EQ(ran, 0);
  ASSERT_FALSE(p.try_do([&] { ++ran; }));
  support::wait_until([&] { return ran == 4; });  // or the test's timeout
}

TEST_F(WakeDelay, NoTaskOfABufferOfOneOrTwoWaits) {
  for (const std::size_t buffer : {1u, 2u}) {
    pool p{options(1, buffer)};
    std::atomic<int> ran{0};
    for (int i = 1; i <= 20; ++i) {
      ASSERT_FALSE(p.do_wait([&] { ++ran; }));
      support::wait_until([&] { return ran == i; });  // or the test's timeout
    }
  }
}

TEST_F(WakeDelay, BulkThatReachesHalfEndsTheNap) {
  pool p{options(1, 8)};
  make_nap(p);
  std::atomic<int> ran{0};
  const auto task = [&ran] { ++ran; };
  std::array<decltype(task), 4> tasks{task, task, task, task};
  EXPECT_EQ(p.try_do_bulk(tasks).accepted, 4u);
  support::wait_until([&] { return ran == 4; });
}

TEST_F(WakeDelay, FutureIsNotKeptWaiting) {
  pool p{options()};
  make_nap(p);
  EXPECT_EQ(p.submit([] { return 7; }).get(), 7);  // or the test's timeout
}

struct detached {
  struct promise_type {
    detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

TEST_F(WakeDelay, CoroutineIsNotKeptWaiting) {
  support::gate resumed;
  pool p{options()};
  make_nap(p);
  const auto go = [](pool& on, support::gate& done) -> detached {
    if (!co_await on.schedule()) done.open();
  };
  go(p, resumed);
  resumed.wait();  // or the test's timeout
}

TEST_F(WakeDelay, GroupIsNotKeptWaiting) {
  support::gate ran;
  pool p{options()};
  make_nap(p);
  fanout::basic_group<timeless> g{p};
  ASSERT_FALSE(g.run([&] { ran.open(); }));
  ran.wait();  // on the worker, while nobody waits for the group
  g.wait();
}

TEST_F(WakeDelay, WaitIdleEndsTheNap) {
  pool p{options()};
  make_nap(p);
  bool ran = false;
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  EXPECT_FALSE(p.wait_idle());
  EXPECT_TRUE(ran);
}

TEST_F(WakeDelay, CloseEndsTheNap) {
  std::atomic<int> ran{0};
  for (int how = 0; how < 3; ++how) {
    pool p{options()};
    make_nap(p);
    ASSERT_FALSE(p.try_do([&] { ++ran; }));
    if (how == 0) {
      EXPECT_FALSE(p.close());
    } else if (how == 1) {
      EXPECT_FALSE(p.close_for(1h));
    } else {
      p.request_stop();
      support::wait_until([&] { return ran == 3; });
    }
  }
  EXPECT_EQ(ran, 3);
}

// Then the worker sleeps without a timer, and the next task wakes it at once.
TEST_F(WakeDelay, NapThatGathersNothingIsTheLast) {
  pool p{options()};
  make_nap(p);
  const auto naps = timeless_sync::naps.load();
  const auto parks = watched_sync::parks.load();
  timeless_sync::is_over = true;
  support::wait_until([&] { return watched_sync::parks > parks; });
  EXPECT_EQ(timeless_sync::naps, naps);
  std::atomic<bool> ran = false;
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  support::wait_until([&] { return ran.load(); });
}

TEST_F(WakeDelay, NapThatGathersTasksIsFollowedByAnother) {
  pool p{options()};
  make_nap(p);
  const auto naps = timeless_sync::naps.load();
  std::atomic<int> ran{0};
  for (int i = 0; i < 2; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  timeless_sync::is_over = true;
  support::wait_until([&] { return ran == 2 && timeless_sync::naps > naps; });
}

// Who napped passes the search on before it runs its own task, and so does each that it wakes.
TEST_F(WakeDelay, TasksThatANapGatheredWakeAChainOfSleepers) {
  constexpr std::size_t workers = 4;
  std::latch all{workers};
  pool p{options(workers)};
  make_nap(p);
  for (std::size_t i = 0; i < workers; ++i) {
    ASSERT_FALSE(p.try_do([&] { all.arrive_and_wait(); }));
  }
  timeless_sync::is_over = true;
  all.wait();  // or the test's timeout
}

TEST(NoWakeDelay, ArmsNoTimer) {
  timeless_sync::naps = 0;
  {
    pool p{{.workers = 2}};
    for (int i = 0; i < 1000; ++i) {
      ASSERT_FALSE(p.do_wait([] {}));
      if (i % 10 == 0) {
        EXPECT_FALSE(p.wait_idle());
      }
    }
  }
  EXPECT_EQ(timeless_sync::naps, 0u);
}

}  // namespace
