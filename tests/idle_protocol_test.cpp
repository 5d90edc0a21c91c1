// detail::idle_protocol on its own: who searches, who naps, who sleeps, and who is woken.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using support::watched_sync;
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
  idle_protocol idle{std::chrono::nanoseconds(0)};

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
  for (int i = 0; i < 10; ++i) idle.notify(0, false);
  EXPECT_TRUE(idle.start_search());
  for (int i = 0; i < 10; ++i) idle.notify(0, false);
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
  idle.notify(0, false);
  EXPECT_EQ(watched_sync::unparks, 0u);  // nobody is left counted asleep
}

TEST_F(IdleProtocol, NotifyWakesASleeperWhichThenSearches) {
  put_to_sleep(1);
  EXPECT_EQ(woken, 0);
  idle.notify(0, false);
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
  for (int i = 0; i < 100; ++i) idle.notify(0, false);
  EXPECT_EQ(watched_sync::unparks, 1u);
  support::wait_until([&] { return woken == 1; });
  for (int i = 0; i < 100; ++i) idle.notify(0, false);
  EXPECT_EQ(watched_sync::unparks, 1u);
  EXPECT_EQ(woken, 1);
  for (int left = 3; left > 0; --left) {
    let_go();
    idle.notify(0, false);
  }
  EXPECT_EQ(watched_sync::unparks, 3u);
}

TEST_F(IdleProtocol, NotifyWakesNobodyWhileSomebodySearches) {
  put_to_sleep(1);
  ASSERT_TRUE(idle.start_search());
  for (int i = 0; i < 10; ++i) idle.notify(0, false);
  EXPECT_EQ(watched_sync::unparks, 0u);
  idle.end_search(nothing);
  EXPECT_EQ(watched_sync::unparks, 0u);
  idle.notify(0, false);
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
  idle.notify(0, false);
  go = 1;
}

// Whoever was asleep may be awake, and no longer searching, when the look for something is over.
TEST_F(IdleProtocol, WakesNobodyWhenTheLastSleeperWokeMeanwhile) {
  put_to_sleep(1);
  ASSERT_TRUE(idle.start_search());
  idle.end_search([this] {
    idle.notify(0, false);
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
  idle.notify(0, false);
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
  idle.notify(0, false);
  searcher.join();
  EXPECT_TRUE(awake);
  EXPECT_EQ(watched_sync::unparks, 1u);
}

// A wake that comes between counting asleep and parking is not lost.
TEST_F(IdleProtocol, WakeBeforeTheParkIsNotLost) {
  bool first = true;
  std::thread sleeper([&] {
    idle.sleep(false, [&] {
      if (first) idle.notify(0, false);
      first = false;
      return false;
    });
    idle.end_search(nothing);
  });
  sleeper.join();  // or the test's timeout
  EXPECT_EQ(watched_sync::unparks, 1u);
}

// One flag as the queue: set, as a claim is made, by a read-modify-write; notify; taken by the one
// that finds it. One at a time, so that each lost wake-up is a hang.
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
      idle.notify_closed();
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    flag.exchange(true);
    idle.notify(0, false);
    support::wait_until([&] { return taken == i; });
  }
  over = true;
  idle.notify(0, false);
  for (auto& worker : workers) worker.join();
  EXPECT_EQ(taken, rounds);
}

// --- Naps

/// A ring as a nap sees it: empty, unless a test says otherwise.
struct quiet_ring {
  std::atomic<std::uint64_t> tail{0};
  std::atomic<bool> claimed = false, closed = false;
  bool is_empty_and_open(std::uint64_t& next) const {
    next = tail;
    return !claimed && !closed;
  }
  std::uint64_t half_from(std::uint64_t next) const { return next + 2; }
  std::uint64_t pushed() const { return tail; }
};

/// A platform whose time stands still until a test moves it, and in which nothing but a kick or a
/// test ends a nap.
struct timeless_sync : watched_sync {
  inline static std::atomic<std::int64_t> time{0};
  inline static std::atomic<std::uint64_t> naps{0};
  inline static std::atomic<bool> rings{false};  // ends a nap by its time, once
  static fanout::detail::steady_time now() {
    return fanout::detail::steady_time(std::chrono::nanoseconds(time));
  }
  struct timed_parking {
    void park_until(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                    fanout::detail::steady_time deadline) {
      ++naps;
      support::wait_until([&] { return rings || word.load() != expected; });
      if (rings.exchange(false)) time = deadline.time_since_epoch().count();
    }
    void unpark(std::atomic<std::uint32_t>&) { ++unparks; }
  };
};

class Nap : public testing::Test {
 protected:
  using protocol = fanout::detail::idle_protocol<timeless_sync>;
  static constexpr std::chrono::nanoseconds delay{1000};

  Nap() {
    watched_sync::reset();
    timeless_sync::time = 1'000'000;
    timeless_sync::naps = 0;
    timeless_sync::rings = false;
  }
  ~Nap() override {
    if (napper_.joinable()) napper_.join();
  }

  /// Sleeps until it is woken by a permit, `later` after the last time.
  void be_woken(std::chrono::nanoseconds later) {
    const auto before = watched_sync::parks.load();
    std::thread sleeper([this] { idle.sleep(true, nothing); });
    support::wait_until([&] { return watched_sync::parks > before; });
    timeless_sync::time += later.count();
    idle.notify(0, false);
    sleeper.join();
  }
  /// Makes the caller's search one that naps: two wakes less than a delay apart.
  void warm_up() {
    ASSERT_TRUE(idle.start_search());
    be_woken(delay * 5);
    be_woken(delay / 2);
  }
  /// Begins a nap on a thread of its own, and returns when it stands.
  void begin_nap() {
    const auto before = timeless_sync::naps.load();
    napper_ = std::thread([this] { napped = idle.nap(ring, [this] { return awaited.load(); }); });
    support::wait_until([&] { return timeless_sync::naps > before; });
  }
  void end_nap() { napper_.join(); }
  bool nap_ends_at_once() {
    return idle.nap(ring, [this] { return awaited.load(); });
  }

  protocol idle{delay};
  quiet_ring ring;
  std::atomic<bool> awaited = false;
  bool napped = false;

 private:
  std::thread napper_;
};

TEST_F(Nap, ComesAfterTwoWakesLessThanADelayApartAndNotAfterOne) {
  ASSERT_TRUE(idle.start_search());
  EXPECT_FALSE(nap_ends_at_once());
  be_woken(delay * 5);
  EXPECT_FALSE(nap_ends_at_once());
  be_woken(delay);  // a whole delay later
  EXPECT_FALSE(nap_ends_at_once());
  be_woken(delay / 2);
  begin_nap();
  timeless_sync::rings = true;
  end_nap();
  EXPECT_TRUE(napped);
  EXPECT_EQ(timeless_sync::naps, 1u);
}

TEST_F(Nap, NeverComesWithoutADelay) {
  protocol prompt{std::chrono::nanoseconds(0)};
  ASSERT_TRUE(prompt.start_search());
  EXPECT_FALSE(prompt.nap(ring, [] { return false; }));
  EXPECT_EQ(timeless_sync::naps, 0u);
}

// One task a delay is better served by a wake, two are not.
TEST_F(Nap, ComesAgainOnlyAfterOneThatGatheredTwoTasks) {
  warm_up();
  begin_nap();
  ring.tail += 2;
  timeless_sync::rings = true;
  end_nap();
  begin_nap();
  ring.tail += 1;
  timeless_sync::rings = true;
  end_nap();
  EXPECT_FALSE(nap_ends_at_once());
  EXPECT_EQ(timeless_sync::naps, 2u);
}

TEST_F(Nap, DoesNotComeOverAClaimAClosedRingOrAnIdler) {
  warm_up();
  ring.claimed = true;
  EXPECT_FALSE(nap_ends_at_once());
  ring.claimed = false;
  ring.closed = true;
  EXPECT_FALSE(nap_ends_at_once());
  ring.closed = false;
  awaited = true;
  EXPECT_FALSE(nap_ends_at_once());
  EXPECT_EQ(timeless_sync::naps, 0u);
}

// A submitter that read the word just before saw a searcher, and wakes nobody.
TEST_F(Nap, LooksAgainOnceItIsAnnounced) {
  warm_up();
  int looks = 0;
  EXPECT_TRUE(idle.nap(ring, [&] { return ++looks == 2; }));
  EXPECT_EQ(looks, 2);
  EXPECT_EQ(timeless_sync::naps, 0u);
  EXPECT_FALSE(idle.start_search());  // it is the searcher
  begin_nap();                        // and may nap the next time
  timeless_sync::rings = true;
  end_nap();
}

TEST_F(Nap, IsLeftAloneByTasksBelowHalfAndEndedByTheNext) {
  warm_up();
  begin_nap();
  idle.notify(0, false);
  idle.notify(1, false);
  EXPECT_EQ(watched_sync::unparks, 2u);  // of the warming up
  idle.notify(2, false);
  end_nap();
  EXPECT_EQ(watched_sync::unparks, 3u);
  EXPECT_FALSE(idle.start_search());  // who napped searches
}

TEST_F(Nap, IsEndedByAnUrgentTaskByAKickAndByAClose) {
  warm_up();
  begin_nap();
  idle.notify(0, true);
  end_nap();
  begin_nap();
  idle.kick();
  end_nap();
  begin_nap();
  idle.notify_closed();
  end_nap();
  EXPECT_EQ(timeless_sync::naps, 3u);
  idle.kick();  // nobody naps
  EXPECT_EQ(watched_sync::unparks, 5u);
}

// --- The worker between two tasks

/// A platform that counts the pauses of idle workers, and in which one that searches goes on only
/// when it may.
struct looking_sync : watched_sync {
  inline static std::atomic<unsigned> pauses{0};
  inline static std::atomic<std::uint64_t> parks_awaited{0};  // before the searcher may go on

  static void pause() noexcept {
    ++pauses;
    support::wait_until([] { return parks >= parks_awaited; });
  }
};

struct looking_policy : fanout::default_policy {
  static constexpr unsigned spins = 6;
  static constexpr unsigned pauses = 1 + 2 + 4 + 8 + 16 + 16;  // between so many looks
  using sync = looking_sync;
};

class IdleWorker : public testing::Test {
 protected:
  IdleWorker() {
    watched_sync::reset();
    looking_sync::pauses = 0;
    looking_sync::parks_awaited = 0;
  }
};

TEST_F(IdleWorker, LooksAsOftenAsThePolicySaysBeforeItSleeps) {
  fanout::basic_pool<looking_policy> p{{.workers = 1}};
  support::wait_until([] { return watched_sync::parks >= 1; });
  EXPECT_EQ(looking_sync::pauses, looking_policy::pauses);
}

TEST_F(IdleWorker, LooksAsOftenAgainAfterATask) {
  fanout::basic_pool<looking_policy> p{{.workers = 1}};
  support::wait_until([] { return watched_sync::parks >= 1; });
  ASSERT_FALSE(p.try_do([] {}));
  support::wait_until([] { return watched_sync::parks >= 2; });
  EXPECT_EQ(looking_sync::pauses, 2 * looking_policy::pauses);
}

// A group's ticket looks a few times for a further task before it is given up; a waiter does not.
TEST_F(IdleWorker, LooksAgainAtTheEndOfATicket) {
  fanout::basic_pool<looking_policy> p{{.workers = 1}};
  support::wait_until([] { return watched_sync::parks >= 1; });
  fanout::basic_group<looking_policy> g{p};
  ASSERT_FALSE(g.run([] {}));
  support::wait_until([] { return watched_sync::parks >= 2; });
  EXPECT_EQ(looking_sync::pauses, 2 * looking_policy::pauses + 16);
  g.wait();
  EXPECT_EQ(looking_sync::pauses, 2 * looking_policy::pauses + 16);
}

// One holds the search; the others look for a moment and sleep.
TEST_F(IdleWorker, SleepsWhileAnotherSearches) {
  fanout::basic_pool<looking_policy> p{{.workers = 3}};
  support::wait_until([] { return watched_sync::parks >= 3; });  // or the test's timeout
  EXPECT_EQ(looking_sync::pauses, 3 * looking_policy::pauses);
}

struct never_pausing : fanout::default_policy {
  static constexpr unsigned spins = 0;
};
struct ever_pausing : fanout::default_policy {
  static constexpr unsigned spins = ~0u;
};

// Whatever the number, it neither wraps nor keeps a submitter.
TEST(Spins, MayBeNoneOrMoreThanEverPass) {
  std::atomic<int> ran{0};
  {
    fanout::basic_pool<never_pausing> none{{.workers = 2}};
    fanout::basic_pool<ever_pausing> all{{.workers = 2}};
    for (int i = 0; i < 100; ++i) {
      ASSERT_FALSE(none.do_wait([&] { ++ran; }));
      ASSERT_FALSE(all.do_wait([&] { ++ran; }));
    }
    EXPECT_FALSE(none.wait_idle());
    EXPECT_FALSE(all.wait_idle());
  }
  EXPECT_EQ(ran, 200);
}

}  // namespace
