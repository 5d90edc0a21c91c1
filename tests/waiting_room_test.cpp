// detail::waiting_room on its own: who blocks, who is called, and when.

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
using waiting_room = fanout::detail::waiting_room<watched_sync>;
using clock = std::chrono::steady_clock;

constexpr steady_time forever = steady_time::max();
bool never() { return false; }

class WaitingRoom : public testing::Test {
 protected:
  /// Takes a slot if there is one; full if not.
  errc attempt() {
    for (int free = slots.load(); free > 0;) {
      if (slots.compare_exchange_weak(free, free - 1)) return errc{};
    }
    return closed ? errc::closed : errc::full;
  }

  errc wait(steady_time deadline = forever) {
    return room.wait_for_room(
        deadline, [this] { return attempt(); }, [this] { return slots > 0; },
        [this] { return stopped.load(); });
  }

  void vacate() {
    ++slots;
    room.slot_vacated();
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
  const fanout::detail::store_load<watched_sync> order;
  waiting_room room{order};

 private:
  std::vector<std::thread> threads_;
};

// --- Submitters

TEST_F(WaitingRoom, DoesNotBlockWhereAnAttemptSucceeds) {
  slots = 1;
  EXPECT_EQ(wait(), errc{});
  EXPECT_EQ(slots, 0);
}

TEST_F(WaitingRoom, PassesOnEveryAnswerButFull) {
  closed = true;
  EXPECT_EQ(wait(), errc::closed);
}

TEST_F(WaitingRoom, VacatedSlotServesABlockedSubmitter) {
  block(1);
  vacate();
  join();
  EXPECT_EQ(served, 1);
}

TEST_F(WaitingRoom, BurstOfVacatedSlotsServesAsManySubmitters) {
  block(4);
  for (int i = 0; i < 4; ++i) vacate();
  join();
  EXPECT_EQ(served, 4);
  EXPECT_EQ(slots, 0);
}

// One call for two slots, as when the first slot in order is the last one vacated: whoever is
// served calls the next.
TEST_F(WaitingRoom, WhoIsServedCallsTheNextWhileThereIsRoom) {
  block(3);
  slots = 3;
  room.slot_vacated();
  join();
  EXPECT_EQ(served, 3);
}

TEST_F(WaitingRoom, CallThatFindsNoSlotLeavesTheSubmitterBlocked) {
  block(1);
  const auto before = watched_sync::blocks.load();
  room.slot_vacated();
  support::wait_until([&] { return watched_sync::blocks > before; });  // looked, blocked again
  EXPECT_EQ(served + refused, 0);
  vacate();
  join();
  EXPECT_EQ(served, 1);
}

TEST_F(WaitingRoom, CloseAnswersEveryBlockedSubmitter) {
  block(5);
  closed = true;
  room.call_all();
  join();
  EXPECT_EQ(refused, 5);
  EXPECT_EQ(last.load(), errc::closed);
}

TEST_F(WaitingRoom, StopAnswersCanceled) {
  block(2);
  stopped = true;
  room.stir();
  join();
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(last.load(), errc::canceled);
}

TEST_F(WaitingRoom, StirWithoutAStopWakesNobodyForGood) {
  block(1);
  const auto before = watched_sync::blocks.load();
  room.stir();
  support::wait_until([&] { return watched_sync::blocks > before; });
  EXPECT_EQ(served + refused, 0);
  vacate();
  join();
}

TEST_F(WaitingRoom, DeadlineAnswersTimedOut) {
  const auto before = clock::now();
  EXPECT_EQ(wait(before + 20ms), errc::timed_out);
  EXPECT_GE(clock::now(), before + 20ms);
  EXPECT_EQ(wait(before), errc::timed_out);
}

TEST_F(WaitingRoom, AcceptanceComesBeforeTheDeadlineAndTheStop) {
  slots = 2;
  EXPECT_EQ(wait(clock::now() - 1h), errc{});
  stopped = true;
  EXPECT_EQ(wait(), errc{});
}

// A call that meets a submitter which gives up is not lost for the one behind it.
TEST_F(WaitingRoom, CallToOneThatTimesOutReachesAnother) {
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

TEST_F(WaitingRoom, NobodyInsideCostsNoWake) {
  const auto before = watched_sync::blocks.load();
  for (int i = 0; i < 10; ++i) vacate();
  room.call_all();
  room.stir();
  room.found_empty();
  slots = 0;
  EXPECT_EQ(watched_sync::blocks, before);
  block(1);  // the calls before it were nobody's
  EXPECT_EQ(served, 0);
  vacate();
  join();
}

TEST_F(WaitingRoom, TakesNoLockWhenWhoWaitedHasGone) {
  EXPECT_EQ(wait(clock::now()), errc::timed_out);
  slots = 1;
  EXPECT_EQ(wait(), errc{});
  EXPECT_FALSE(room.wait_for_idle(clock::now(), never));
  const auto before = watched_sync::locks;
  EXPECT_GT(before, 0u);
  vacate();
  room.found_empty();
  EXPECT_EQ(watched_sync::locks, before);
}

// --- Idlers

TEST_F(WaitingRoom, IdleNowNeedsNoWait) {
  EXPECT_TRUE(room.wait_for_idle(forever, [] { return true; }));
  EXPECT_TRUE(room.wait_for_idle(clock::now() - 1h, [] { return true; }));
}

TEST_F(WaitingRoom, IdlersAreWokenWhenFoundEmpty) {
  std::atomic<bool> idle = false;
  std::atomic<int> woken{0};
  const auto before = watched_sync::blocked.load();
  std::vector<std::thread> idlers;
  for (int i = 0; i < 3; ++i) {
    idlers.emplace_back([&] {
      if (room.wait_for_idle(forever, [&] { return idle.load(); })) ++woken;
    });
  }
  support::wait_until([&] { return watched_sync::blocked == before + 3; });
  idle = true;
  room.found_empty();
  for (auto& idler : idlers) idler.join();
  EXPECT_EQ(woken, 3);
}

TEST_F(WaitingRoom, IdlerThatFindsWorkWaitsOn) {
  std::atomic<bool> idle = false;
  std::thread idler([&] { room.wait_for_idle(forever, [&] { return idle.load(); }); });
  support::wait_until([&] { return watched_sync::blocked == 1; });
  const auto before = watched_sync::blocks.load();
  room.found_empty();
  support::wait_until([&] { return watched_sync::blocks > before; });
  idle = true;
  room.found_empty();
  idler.join();
}

TEST_F(WaitingRoom, IdlerTimesOut) {
  const auto before = clock::now();
  EXPECT_FALSE(room.wait_for_idle(before + 10ms, never));
  EXPECT_GE(clock::now(), before + 10ms);
  EXPECT_FALSE(room.wait_for_idle(before, never));
}

// --- Several threads

// As many slots as submitters, vacated one by one: a lost call is a hang.
TEST_F(WaitingRoom, LosesNoCall) {
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
