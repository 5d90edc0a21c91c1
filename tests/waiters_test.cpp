// detail::room_waiters and detail::idle_waiters on their own: who blocks, who is called, and when.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::errc;
using fanout::detail::steady_time;
/// Counts the locks of this thread besides.
struct watched_sync : support::watched_sync {
  inline static thread_local std::uint64_t locks = 0;
  struct mutex : std::mutex {
    void lock() {
      ++locks;
      std::mutex::lock();
    }
  };
  // Waits on the mutex below: what a wait locks again does not count.
  struct condition_variable : support::watched_sync::condition_variable {
    using base = support::watched_sync::condition_variable;
    void wait(std::unique_lock<mutex>& hold) {
      auto below = lent(hold);
      base::wait(below);
      give_back(hold, below);
    }
    std::cv_status wait_until(std::unique_lock<mutex>& hold, steady_time deadline) {
      auto below = lent(hold);
      const auto status = base::wait_until(below, deadline);
      give_back(hold, below);
      return status;
    }

   private:
    static std::unique_lock<std::mutex> lent(std::unique_lock<mutex>& hold) {
      return {*hold.release(), std::adopt_lock};
    }
    static void give_back(std::unique_lock<mutex>& hold, std::unique_lock<std::mutex>& below) {
      hold = {static_cast<mutex&>(*below.release()), std::adopt_lock};
    }
  };
};
using room_waiters = fanout::detail::room_waiters<watched_sync>;
using idle_waiters = fanout::detail::idle_waiters<watched_sync>;
using clock = std::chrono::steady_clock;

constexpr steady_time forever = steady_time::max();

class RoomWaiters : public testing::Test {
 protected:
  /// Takes a slot if there is one; full if not.
  errc attempt() {
    for (int free = slots.load(); free > 0;) {
      if (slots.compare_exchange_weak(free, free - 1)) return errc{};
    }
    return closed ? errc::closed : errc::full;
  }

  errc wait(steady_time deadline = forever) {
    return room.wait(
        deadline, [this] { return attempt(); }, [this] { return stopped.load(); });
  }

  void vacate() {
    ++slots;
    room.notify_not_full();
  }

  /// Begins `n` threads in wait() and returns when they block.
  void block(std::size_t n) {
    const auto before = watched_sync::blocked.load();
    for (std::size_t i = 0; i < n; ++i) {
      threads_.emplace_back([this] {
        const errc answer = wait();
        ++(answer == errc{} ? served : refused);
        last = answer;
      });
    }
    support::wait_until(
        [&] { return watched_sync::blocked == before + static_cast<std::int64_t>(n); });
  }
  void join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

  std::atomic<int> slots{0};
  std::atomic<bool> closed = false;
  std::atomic<bool> stopped = false;
  std::atomic<int> served{0};
  std::atomic<int> refused{0};
  std::atomic<errc> last{};
  room_waiters room;

 private:
  std::vector<std::thread> threads_;
};

// --- Submitters

TEST_F(RoomWaiters, DoesNotBlockWhereAnAttemptSucceeds) {
  slots = 1;
  EXPECT_EQ(wait(), errc{});
  EXPECT_EQ(slots, 0);
}

TEST_F(RoomWaiters, PassesOnEveryAnswerButFull) {
  closed = true;
  EXPECT_EQ(wait(), errc::closed);
}

TEST_F(RoomWaiters, VacatedSlotServesABlockedSubmitter) {
  block(1);
  vacate();
  join();
  EXPECT_EQ(served, 1);
}

TEST_F(RoomWaiters, BurstOfVacatedSlotsServesAsManySubmitters) {
  block(4);
  for (int i = 0; i < 4; ++i) vacate();
  join();
  EXPECT_EQ(served, 4);
  EXPECT_EQ(slots, 0);
}

TEST_F(RoomWaiters, CallThatFindsNoSlotLeavesTheSubmitterBlocked) {
  block(1);
  const auto before = watched_sync::blocks.load();
  room.notify_not_full();
  support::wait_until([&] { return watched_sync::blocks > before; });  // looked, blocked again
  EXPECT_EQ(served + refused, 0);
  vacate();
  join();
  EXPECT_EQ(served, 1);
}

TEST_F(RoomWaiters, CloseAnswersEveryBlockedSubmitter) {
  block(5);
  closed = true;
  room.notify_closed();
  join();
  EXPECT_EQ(refused, 5);
  EXPECT_EQ(last.load(), errc::closed);
}

TEST_F(RoomWaiters, StopAnswersCanceled) {
  block(2);
  stopped = true;
  room.notify_stopped();
  join();
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(last.load(), errc::canceled);
}

TEST_F(RoomWaiters, StirWithoutAStopWakesNobodyForGood) {
  block(1);
  const auto before = watched_sync::blocks.load();
  room.notify_stopped();
  support::wait_until([&] { return watched_sync::blocks > before; });
  EXPECT_EQ(served + refused, 0);
  vacate();
  join();
}

TEST_F(RoomWaiters, DeadlineAnswersTimedOut) {
  const auto before = clock::now();
  EXPECT_EQ(wait(before + 20ms), errc::timed_out);
  EXPECT_GE(clock::now(), before + 20ms);
  EXPECT_EQ(wait(before), errc::timed_out);
}

TEST_F(RoomWaiters, AcceptanceComesBeforeTheDeadlineAndTheStop) {
  slots = 2;
  EXPECT_EQ(wait(clock::now() - 1h), errc{});
  stopped = true;
  EXPECT_EQ(wait(), errc{});
}

// A call that meets a submitter which gives up is not lost for the one behind it.
TEST_F(RoomWaiters, CallToOneThatTimesOutReachesAnother) {
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> answers{0};
    std::atomic<int> taken{0};
    std::thread impatient([&] {
      taken += wait(clock::now() + 50us) == errc{} ? 1 : 0;
      ++answers;
    });
    std::thread patient([&] {
      taken += wait() == errc{} ? 1 : 0;
      ++answers;
    });
    vacate();
    impatient.join();
    vacate();  // one is left, for the patient one
    patient.join();
    ASSERT_EQ(answers, 2);
    ASSERT_EQ(taken + slots, 2);
    slots = 0;
  }
}

TEST_F(RoomWaiters, NobodyInsideCostsNoWake) {
  const auto before = watched_sync::blocks.load();
  for (int i = 0; i < 10; ++i) vacate();
  room.notify_closed();
  room.notify_stopped();
  slots = 0;
  EXPECT_EQ(watched_sync::blocks, before);
  block(1);  // the calls before it were nobody's
  EXPECT_EQ(served, 0);
  vacate();
  join();
}

TEST_F(RoomWaiters, TakesNoLockWhenWhoWaitedHasGone) {
  EXPECT_EQ(wait(clock::now()), errc::timed_out);
  slots = 1;
  EXPECT_EQ(wait(), errc{});
  stopped = true;
  EXPECT_EQ(wait(), errc::canceled);
  stopped = false;
  const auto before = watched_sync::locks;
  EXPECT_GT(before, 0u);
  vacate();
  EXPECT_EQ(watched_sync::locks, before);
}

// A submitter that gets a slot while it is called, but before it blocks, leaves the call to who does.
TEST_F(RoomWaiters, CallIsAnsweredByWhoBlocksAndNotByWhoIsServedMeanwhile) {
  block(1);
  const errc answer = room.wait(
      forever,
      [this] {
        vacate();  // calls one of both
        return errc{};
      },
      [] { return false; });
  EXPECT_EQ(answer, errc{});
  join();  // or the test's timeout
  EXPECT_EQ(served, 1);
}

// --- Idlers

bool wait_for(idle_waiters& room, steady_time deadline, const std::atomic<bool>& idle) {
  return room.wait(
      deadline, [&] { return idle.load(); }, [] {});
}

TEST(IdleWaiters, IdleNowNeedsNoWait) {
  idle_waiters room;
  const std::atomic<bool> idle = true;
  EXPECT_TRUE(wait_for(room, forever, idle));
  EXPECT_TRUE(wait_for(room, clock::now() - 1h, idle));
}

TEST(IdleWaiters, AreCountedBeforeTheyArriveAndLook) {
  idle_waiters room;
  EXPECT_FALSE(room.is_anybody());
  bool counted = false;
  bool arrived = false;
  EXPECT_TRUE(room.wait(
      forever, [&] { return arrived; },
      [&] {
        counted = room.is_anybody();
        arrived = true;
      }));
  EXPECT_TRUE(counted);
  EXPECT_FALSE(room.is_anybody());
}

TEST(IdleWaiters, AreWokenTogether) {
  idle_waiters room;
  std::atomic<bool> idle = false;
  std::atomic<int> woken{0};
  const auto before = watched_sync::blocked.load();
  std::vector<std::thread> idlers;
  for (int i = 0; i < 3; ++i) {
    idlers.emplace_back([&] {
      if (wait_for(room, forever, idle)) ++woken;
    });
  }
  support::wait_until([&] { return watched_sync::blocked == before + 3; });
  idle = true;
  room.notify_all();
  for (auto& idler : idlers) idler.join();
  EXPECT_EQ(woken, 3);
}

TEST(IdleWaiters, WaitOnWhereTheyFindWork) {
  idle_waiters room;
  std::atomic<bool> idle = false;
  const auto blocked = watched_sync::blocked.load();
  std::thread idler([&] { wait_for(room, forever, idle); });
  support::wait_until([&] { return watched_sync::blocked == blocked + 1; });
  const auto before = watched_sync::blocks.load();
  room.notify_all();
  support::wait_until([&] { return watched_sync::blocks > before; });
  idle = true;
  room.notify_all();
  idler.join();
}

TEST(IdleWaiters, TimeOut) {
  idle_waiters room;
  const std::atomic<bool> idle = false;
  const auto before = clock::now();
  EXPECT_FALSE(wait_for(room, before + 10ms, idle));
  EXPECT_GE(clock::now(), before + 10ms);
  EXPECT_FALSE(wait_for(room, before, idle));
}

TEST(IdleWaiters, CostWhoNotifiesNoLockWhenTheyHaveGone) {
  idle_waiters room;
  const std::atomic<bool> idle = false;
  EXPECT_FALSE(wait_for(room, clock::now(), idle));
  const auto before = watched_sync::locks;
  room.notify_all();
  EXPECT_EQ(watched_sync::locks, before);
}

// --- Several threads

// As many slots as submitters, vacated one by one: a lost call is a hang.
TEST_F(RoomWaiters, LosesNoCall) {
  constexpr int submitters = 4;
  constexpr int each = 5000;
  std::atomic<int> in{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < submitters; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i) in += wait() == errc{} ? 1 : 0;
    });
  }
  for (int i = 0; i < submitters * each; ++i) {
    vacate();
    support::wait_until([&] { return in == i + 1; });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(in, submitters * each);
}

}  // namespace
