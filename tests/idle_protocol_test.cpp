// detail::idle_protocol on its own: who searches, who sleeps, and who is woken.

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using support::watched_sync;
using barrier = fanout::detail::store_load<watched_sync>;
using idle_protocol = fanout::detail::idle_protocol<watched_sync>;

bool nothing() { return false; }
bool something() { return true; }

class IdleProtocol : public testing::Test {
 protected:
  IdleProtocol() { watched_sync::reset(); }

  ~IdleProtocol() override {
    for (auto& sleeper : sleepers_) sleeper.join();
  }

  /// Puts `n` more threads to sleep that do not search, one after another. Woken, each is the
  /// searcher, and stops searching when it is told to.
  void put_to_sleep(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto before = watched_sync::parks.load();
      sleepers_.emplace_back([this] {
        idle.sleep(false, nothing);
        ++woken;
        support::wait_until([this] { return go > 0; });
        --go;
        idle.end_search([this] { return ready.load(); });
        ++ended;
      });
      support::wait_until([&] { return watched_sync::parks > before; });
    }
  }

  /// Lets the searcher leave its search.
  void let_go() {
    const auto before = ended.load();
    go = 1;
    support::wait_until([&] { return ended > before; });
  }

  std::atomic<int> woken{0};
  std::atomic<int> ended{0};
  std::atomic<int> go{0};
  std::atomic<bool> ready = false;
  const barrier order;
  idle_protocol idle{order};

 private:
  std::vector<std::thread> sleepers_;
};

TEST_F(IdleProtocol, TakesOneSearcherAtATime) {
  EXPECT_TRUE(idle.start_search());
  EXPECT_FALSE(idle.start_search());
  EXPECT_FALSE(idle.start_search());
  idle.end_search(nothing);
  EXPECT_TRUE(idle.start_search());
  idle.end_search(nothing);
}

TEST_F(IdleProtocol, NotifyWithoutSleepersWakesNobody) {
  for (int i = 0; i < 10; ++i) idle.notify();
  EXPECT_TRUE(idle.start_search());
  for (int i = 0; i < 10; ++i) idle.notify();
  idle.end_search(something);
  EXPECT_EQ(watched_sync::unparks, 0u);
}

TEST_F(IdleProtocol, SleeperThatSeesSomethingReadyDoesNotSleep) {
  idle.sleep(false, something);  // or the test's timeout
  EXPECT_EQ(watched_sync::parks, 0u);
  EXPECT_FALSE(idle.start_search());  // it is the searcher
  idle.sleep(true, something);        // and may fall asleep as one
  EXPECT_FALSE(idle.start_search());
  idle.end_search(nothing);
  EXPECT_TRUE(idle.start_search());
  idle.end_search(nothing);
  idle.notify();
  EXPECT_EQ(watched_sync::unparks, 0u);  // nobody is left counted asleep
}

TEST_F(IdleProtocol, NotifyWakesASleeperWhichThenSearches) {
  put_to_sleep(1);
  EXPECT_EQ(woken, 0);
  idle.notify();
  support::wait_until([&] { return woken == 1; });
  EXPECT_EQ(watched_sync::unparks, 1u);
  EXPECT_FALSE(idle.start_search());
  let_go();
  EXPECT_TRUE(idle.start_search());
  idle.end_search(nothing);
}

// The waker does the accounting: the woken one searches before it has run.
TEST_F(IdleProtocol, BurstCostsOneWake) {
  put_to_sleep(3);
  for (int i = 0; i < 100; ++i) idle.notify();
  EXPECT_EQ(watched_sync::unparks, 1u);
  support::wait_until([&] { return woken == 1; });
  for (int i = 0; i < 100; ++i) idle.notify();
  EXPECT_EQ(watched_sync::unparks, 1u);
  EXPECT_EQ(woken, 1);
  for (int left = 3; left > 0; --left) {
    let_go();
    idle.notify();
  }
  EXPECT_EQ(watched_sync::unparks, 3u);
}

TEST_F(IdleProtocol, NotifyWakesNobodyWhileSomebodySearches) {
  put_to_sleep(1);
  ASSERT_TRUE(idle.start_search());
  for (int i = 0; i < 10; ++i) idle.notify();
  EXPECT_EQ(watched_sync::unparks, 0u);
  idle.end_search(nothing);
  EXPECT_EQ(watched_sync::unparks, 0u);
  idle.notify();
  EXPECT_EQ(watched_sync::unparks, 1u);
  go = 1;
}

// The rule that closes the published lost wake-up: whoever leaves the search looks again.
TEST_F(IdleProtocol, WhoLeavesTheSearchWakesAnotherIfSomethingIsReady) {
  put_to_sleep(2);
  ASSERT_TRUE(idle.start_search());
  idle.end_search(something);
  EXPECT_EQ(watched_sync::unparks, 1u);
  support::wait_until([&] { return woken == 1; });
  ready = true;
  go = 1;  // the woken one leaves and passes the duty on
  support::wait_until([&] { return woken == 2; });
  EXPECT_EQ(watched_sync::unparks, 2u);
  ready = false;
  let_go();
}

TEST_F(IdleProtocol, WhoLeavesTheSearchWakesNobodyIfNothingIsReady) {
  put_to_sleep(1);
  ASSERT_TRUE(idle.start_search());
  idle.end_search(nothing);
  EXPECT_EQ(watched_sync::unparks, 0u);
  idle.look_again(nothing);
  EXPECT_EQ(watched_sync::unparks, 0u);
  idle.look_again(something);
  EXPECT_EQ(watched_sync::unparks, 1u);
  go = 1;
}

// Whoever was asleep may be awake, and no longer searching, when the look for something is over.
TEST_F(IdleProtocol, WakesNobodyWhenTheLastSleeperWokeMeanwhile) {
  put_to_sleep(1);
  idle.look_again([this] {
    idle.notify();
    let_go();
    return true;
  });
  EXPECT_EQ(watched_sync::unparks, 1u);
  EXPECT_TRUE(idle.start_search());  // nobody is counted as searching
  idle.end_search(nothing);
  const auto before = watched_sync::parks.load();
  put_to_sleep(1);
  EXPECT_EQ(watched_sync::parks, before + 1);  // no permit was left over
  EXPECT_EQ(woken, 1);
  idle.notify();
  let_go();
}

// A searcher that falls asleep leaves the search: the next notify finds it.
TEST_F(IdleProtocol, SearcherThatSleepsIsWokenByTheNextNotify) {
  std::atomic<bool> awake = false;
  std::thread searcher([&] {
    if (!idle.start_search()) return;
    idle.sleep(true, nothing);
    idle.end_search(nothing);
    awake = true;
  });
  support::wait_until([] { return watched_sync::parks > 0; });
  EXPECT_FALSE(awake);
  idle.notify();
  searcher.join();
  EXPECT_TRUE(awake);
  EXPECT_EQ(watched_sync::unparks, 1u);
}

// A wake that comes between counting asleep and parking is not lost.
TEST_F(IdleProtocol, WakeBeforeTheParkIsNotLost) {
  bool first = true;
  std::thread sleeper([&] {
    idle.sleep(false, [&] {
      if (first) idle.notify();
      first = false;
      return false;
    });
    idle.end_search(nothing);
  });
  sleeper.join();  // or the test's timeout
  EXPECT_EQ(watched_sync::unparks, 1u);
}

// One flag as the queue: set, notify; taken by the one that finds it. One at a time, so that each
// lost wake-up is a hang.
TEST_F(IdleProtocol, LosesNoWakeUpOfOneFlagAmongSleepers) {
  constexpr int rounds = 20000;
  std::atomic<bool> flag = false;
  std::atomic<bool> over = false;
  std::atomic<int> taken{0};
  const auto is_ready = [&] { return flag.load() || over.load(); };
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&] {
      bool searching = false;
      while (!over) {
        if (flag.exchange(false)) {
          if (searching) idle.end_search(is_ready);
          searching = false;
          ++taken;
          continue;
        }
        if (!searching) searching = idle.start_search();
        idle.sleep(searching, is_ready);
        searching = true;
      }
      if (searching) idle.end_search(is_ready);
      idle.look_again(is_ready);
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    flag = true;
    idle.notify();
    support::wait_until([&] { return taken == i; });
  }
  over = true;
  idle.notify();
  for (auto& worker : workers) worker.join();
  EXPECT_EQ(taken, rounds);
}

// --- The worker between two tasks

/// A platform that counts the looks of idle workers, and in which a searching worker goes on only
/// when it may.
struct looking_sync : watched_sync {
  inline static std::atomic<unsigned> pauses{0};
  inline static std::atomic<unsigned> yields{0};
  inline static std::atomic<std::uint64_t> parks_awaited{0};  // before the searcher may go on

  static void pause() noexcept {
    ++pauses;
    support::wait_until([] { return parks >= parks_awaited; });
  }
  static void yield() noexcept {
    ++yields;
    std::this_thread::yield();
  }
};

struct looking_policy : fanout::default_policy {
  static constexpr unsigned spins = 5;
  static constexpr unsigned yields = 7;
  using sync = looking_sync;
};

class IdleWorker : public testing::Test {
 protected:
  IdleWorker() {
    watched_sync::reset();
    looking_sync::pauses = 0;
    looking_sync::yields = 0;
    looking_sync::parks_awaited = 0;
  }
};

TEST_F(IdleWorker, LooksAsOftenAsThePolicySaysBeforeItSleeps) {
  fanout::basic_pool<looking_policy> p{{.workers = 1}};
  support::wait_until([] { return watched_sync::parks >= 1; });
  EXPECT_EQ(looking_sync::pauses, looking_policy::spins);
  EXPECT_EQ(looking_sync::yields, looking_policy::yields);
}

TEST_F(IdleWorker, LooksAsOftenAgainAfterATask) {
  fanout::basic_pool<looking_policy> p{{.workers = 1}};
  support::wait_until([] { return watched_sync::parks >= 1; });
  ASSERT_FALSE(p.try_do([] {}));
  support::wait_until([] { return watched_sync::parks >= 2; });
  EXPECT_EQ(looking_sync::pauses, 2 * looking_policy::spins);
  EXPECT_EQ(looking_sync::yields, 2 * looking_policy::yields);
}

// A group's ticket looks as often for a further task before it is given up; a waiter does not.
TEST_F(IdleWorker, LooksAgainAtTheEndOfATicket) {
  fanout::basic_pool<looking_policy> p{{.workers = 1}};
  support::wait_until([] { return watched_sync::parks >= 1; });
  fanout::basic_group<looking_policy> g{p};
  ASSERT_FALSE(g.run([] {}));
  support::wait_until([] { return watched_sync::parks >= 2; });
  EXPECT_EQ(looking_sync::pauses, 3 * looking_policy::spins);
  g.wait();
  EXPECT_EQ(looking_sync::pauses, 3 * looking_policy::spins);
}

// One looks for all of them.
TEST_F(IdleWorker, SleepsWhileAnotherSearches) {
  looking_sync::parks_awaited = 2;
  fanout::basic_pool<looking_policy> p{{.workers = 3}};
  support::wait_until([] { return watched_sync::parks >= 3; });  // or the test's timeout
  EXPECT_EQ(looking_sync::pauses, looking_policy::spins);
  EXPECT_EQ(looking_sync::yields, 3 * looking_policy::yields);
}

}  // namespace
