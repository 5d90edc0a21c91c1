// detail::ring on its own: exact capacity, order, stamps at any lap, the closed bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;

/// A platform on which this thread can be interrupted once: between its next two loads, which in every
/// call are those of the head or tail and of a stamp, or just before it next claims.
struct interruptible_sync : fanout::detail::native_sync {
  inline static thread_local std::function<void()> interrupt, interrupt_claim;
  inline static thread_local bool has_loaded = false;

  template <class T> struct atomic : std::atomic<T> {
    using std::atomic<T>::atomic;
    T load(std::memory_order order) const noexcept {
      if (interrupt && std::exchange(has_loaded, !has_loaded)) std::exchange(interrupt, nullptr)();
      return std::atomic<T>::load(order);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
      if (interrupt_claim) std::exchange(interrupt_claim, nullptr)();
      return std::atomic<T>::compare_exchange_weak(expected, desired, success, failure);
    }
  };
};
struct interruptible : fanout::default_policy {
  using sync = interruptible_sync;
};
using slot = fanout::detail::slot<interruptible>;

/// A ring with slots of its own.
class ring : std::vector<slot>, public fanout::detail::ring<slot, interruptible_sync> {
  using base = fanout::detail::ring<slot, interruptible_sync>;

 public:
  explicit ring(std::size_t n) : std::vector<slot>(n), base(data(), n) {}
  using base::at;
};
using position = ring::position;

/// Puts a number where a task would be.
void put(ring& r, position at, std::uint64_t value) {
  std::memcpy(r.at(at).storage, &value, sizeof value);
  r.publish(r.at(at), at);
}

bool push(ring& r, std::uint64_t value, errc* refusal = nullptr) {
  const auto claimed = r.claim_back(1);
  if (claimed.count == 0) {
    if (refusal != nullptr) *refusal = claimed.why;
    return false;
  }
  put(r, claimed.first, value);
  return true;
}

std::uint64_t take(ring& r, position at) {
  std::uint64_t value = 0;
  std::memcpy(&value, r.at(at).storage, sizeof value);
  r.vacate(r.at(at), at);
  return value;
}

bool pop(ring& r, std::uint64_t& value) {
  position at = 0;
  if (!r.claim_front(at)) return false;
  value = take(r, at);
  return true;
}

class Ring : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(OfCapacity, Ring, testing::Values(1, 2, 3, 4, 5, 7, 8, 64, 100),
                         testing::PrintToStringParamName());

TEST_P(Ring, HoldsExactlyItsCapacityWhereverItBegins) {
  const std::size_t n = GetParam();
  ring r(n);
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  std::uint64_t value = 0;
  for (std::size_t round = 0; round < 3 * n + 5; ++round) {
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_FALSE(r.is_full_of_waiting());
      ASSERT_TRUE(push(r, in++));
      ASSERT_TRUE(r.is_ready());
    }
    ASSERT_TRUE(r.is_full_of_waiting());
    errc why{};
    ASSERT_FALSE(push(r, in, &why));
    ASSERT_EQ(why, errc::full);
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_TRUE(pop(r, value));
      ASSERT_EQ(value, out++);
    }
    ASSERT_FALSE(r.is_ready());
    ASSERT_FALSE(pop(r, value));
    ASSERT_TRUE(push(r, in++));  // so that the next round begins one slot further
    ASSERT_TRUE(pop(r, value));
    ASSERT_EQ(value, out++);
  }
}

TEST_P(Ring, CountsWhatWasPushedAndPopped) {
  const std::size_t n = GetParam();
  ring r(n);
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < 5 * n + 2; ++i) {
    ASSERT_EQ(r.pushed(), i);
    ASSERT_TRUE(push(r, i));
    ASSERT_EQ(r.pushed(), i + 1);
    ASSERT_EQ(r.popped(), i);
    ASSERT_TRUE(pop(r, value));
    ASSERT_EQ(r.popped(), i + 1);
  }
  r.close();
  EXPECT_EQ(r.pushed(), 5 * n + 2);
}

TEST_P(Ring, ClaimsARunOfSlotsInOneStep) {
  const std::size_t n = GetParam();
  ring r(n);
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  for (std::size_t round = 0; round < 2 * n + 3; ++round) {
    for (const std::size_t wanted : {n, n + 1, std::size_t{1}, (n + 1) / 2}) {
      const auto claimed = r.claim_back(wanted);
      ASSERT_EQ(claimed.count, std::min(wanted, n));
      std::size_t visited = 0;
      r.for_each(claimed, [&](slot& s, position p) {
        ++visited;
        EXPECT_EQ(&s, &r.at(p));
        put(r, p, in++);
      });
      ASSERT_EQ(visited, claimed.count);
      std::uint64_t value = 0;
      while (pop(r, value)) ASSERT_EQ(value, out++);
      ASSERT_EQ(out, in);
    }
  }
}

TEST_P(Ring, ClaimsWhatIsLeftOfARun) {
  const std::size_t n = GetParam();
  ring r(n);
  ASSERT_TRUE(push(r, 0));
  const auto claimed = r.claim_back(n);
  EXPECT_EQ(claimed.count, n - 1);
  if (n == 1) {
    EXPECT_EQ(claimed.why, errc::full);
  }
}

TEST(RingAlone, SlotThatIsBeingFilledIsNeitherRoomNorATask) {
  ring r(1);
  const auto claimed = r.claim_back(1);
  ASSERT_EQ(claimed.count, 1u);
  EXPECT_FALSE(r.is_ready());
  errc why{};
  EXPECT_FALSE(push(r, 1, &why));
  EXPECT_EQ(why, errc::full);
  EXPECT_TRUE(r.is_full_of_waiting());  // no worker has claimed it
  std::uint64_t value = 0;
  EXPECT_FALSE(pop(r, value));
  put(r, claimed.first, 7);
  EXPECT_TRUE(r.is_ready());
  EXPECT_TRUE(pop(r, value));
  EXPECT_EQ(value, 7u);
}

TEST(RingAlone, SlotThatIsBeingEmptiedIsNeitherRoomNorATask) {
  ring r(1);
  ASSERT_TRUE(push(r, 7));
  position at = 0;
  ASSERT_TRUE(r.claim_front(at));
  EXPECT_FALSE(r.is_ready());
  errc why{};
  EXPECT_FALSE(push(r, 8, &why));
  EXPECT_EQ(why, errc::full);
  EXPECT_FALSE(r.is_full_of_waiting());  // its worker is about to vacate it
  EXPECT_EQ(take(r, at), 7u);
  EXPECT_TRUE(push(r, 8));
}

// The order is that of the claims, whoever publishes first.
TEST(RingAlone, StalledSubmitterHoldsUpThoseBehindIt) {
  ring r(2);
  const auto first = r.claim_back(1);
  ASSERT_EQ(first.count, 1u);
  ASSERT_TRUE(push(r, 2));
  std::uint64_t value = 0;
  EXPECT_FALSE(r.is_ready());
  EXPECT_FALSE(pop(r, value));
  put(r, first.first, 1);
  EXPECT_TRUE(pop(r, value));
  EXPECT_EQ(value, 1u);
  EXPECT_TRUE(pop(r, value));
  EXPECT_EQ(value, 2u);
}

TEST(RingAlone, SlotsFreeInAnyOrder) {
  ring r(2);
  ASSERT_TRUE(push(r, 1));
  ASSERT_TRUE(push(r, 2));
  position first = 0;
  position second = 0;
  ASSERT_TRUE(r.claim_front(first));
  ASSERT_TRUE(r.claim_front(second));
  EXPECT_EQ(take(r, second), 2u);
  EXPECT_FALSE(push(r, 3));  // the slot next in order is still being emptied
  EXPECT_EQ(take(r, first), 1u);
  EXPECT_TRUE(push(r, 3));
  EXPECT_TRUE(push(r, 4));
  EXPECT_FALSE(push(r, 5));
}

TEST(RingAlone, ClosedAcceptsNothingAndGivesOutTheRest) {
  for (const std::size_t n : {1u, 2u, 3u}) {
    ring r(n);
    for (std::uint64_t i = 0; i < n; ++i) ASSERT_TRUE(push(r, i));
    EXPECT_FALSE(r.is_closed());
    EXPECT_FALSE(r.is_drained());
    r.close();
    r.close();
    EXPECT_TRUE(r.is_closed());
    errc why{};
    EXPECT_FALSE(push(r, 9, &why));  // closed comes before full
    EXPECT_EQ(why, errc::closed);
    std::uint64_t value = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
      EXPECT_FALSE(r.is_drained());
      ASSERT_TRUE(pop(r, value));
      EXPECT_EQ(value, i);
    }
    EXPECT_TRUE(r.is_drained());
    EXPECT_FALSE(push(r, 9, &why));
    EXPECT_EQ(why, errc::closed);
    EXPECT_EQ(r.pushed(), n);
    EXPECT_EQ(r.popped(), n);
  }
}

TEST(RingAlone, IsNotDrainedWhileOpenOrWhileASlotIsBeingFilled) {
  ring r(3);
  EXPECT_FALSE(r.is_drained());
  const auto claimed = r.claim_back(1);
  ASSERT_EQ(claimed.count, 1u);
  r.close();
  EXPECT_FALSE(r.is_drained());
  put(r, claimed.first, 5);
  EXPECT_FALSE(r.is_drained());
  std::uint64_t value = 0;
  EXPECT_TRUE(pop(r, value));
  EXPECT_TRUE(r.is_drained());
}

// What a sleeper looks for: a claim counts from the claim of the tail to that of the head, so that
// it needs no order between the publication of a slot and its look.
TEST(RingAlone, ClaimCountsBeforeItIsPublishedAndNotOnceItIsTaken) {
  ring r(2);
  EXPECT_FALSE(r.has_claims());
  const auto claimed = r.claim_back(1);
  EXPECT_TRUE(r.has_claims());
  EXPECT_FALSE(r.is_ready());
  put(r, claimed.first, 1);
  EXPECT_TRUE(r.has_claims());
  position at = 0;
  ASSERT_TRUE(r.claim_front(at));
  EXPECT_FALSE(r.has_claims());
  take(r, at);
  EXPECT_FALSE(r.has_claims());
  r.close();
  EXPECT_FALSE(r.has_claims());  // the closed bit is no claim
}

TEST(RingAlone, IsEmptyAndOpenBetweenTasksAndTellsTheNextPosition) {
  ring r(2);
  position next = 9;
  EXPECT_TRUE(r.is_empty_and_open(next));
  EXPECT_EQ(next, 0u);
  const auto claimed = r.claim_back(1);
  EXPECT_FALSE(r.is_empty_and_open(next));
  put(r, claimed.first, 1);
  EXPECT_FALSE(r.is_empty_and_open(next));
  std::uint64_t value = 0;
  ASSERT_TRUE(pop(r, value));
  EXPECT_TRUE(r.is_empty_and_open(next));
  EXPECT_EQ(next, 1u);
  r.close();
  EXPECT_FALSE(r.is_empty_and_open(next));
}

// The task at half_from is the one with which half the slots, rounded up, are taken.
TEST_P(Ring, HalfIsRoundedUpWhereverItBegins) {
  const std::size_t n = GetParam();
  ring r(n);
  for (std::size_t round = 0; round < 2 * n + 1; ++round) {
    position next = 0;
    ASSERT_TRUE(r.is_empty_and_open(next));
    const position half = r.half_from(next);
    for (std::size_t i = 1; i < (n + 1) / 2; ++i) {
      const auto claimed = r.claim_back(1);
      EXPECT_LT(claimed.first, half);
      put(r, claimed.first, i);
    }
    const auto claimed = r.claim_back(1);
    EXPECT_EQ(claimed.first, half);
    put(r, claimed.first, 0);
    std::uint64_t value = 0;
    while (pop(r, value)) {
    }
  }
}

// A publisher or a worker that stays where it is holds up nobody for longer than a short sleep.
TEST(RingAlone, AwaitsAPublisherAndAVacancyForAMoment) {
  ring r(1);
  const auto claimed = r.claim_back(1);
  r.await_publisher();  // or the test's timeout
  put(r, claimed.first, 1);
  position at = 0;
  ASSERT_TRUE(r.claim_front(at));
  r.await_vacancy();
  take(r, at);
  EXPECT_TRUE(push(r, 2));
}

// --- What happens between two steps of a call

template <class F> void interrupt_with(F f) { interruptible_sync::interrupt = f; }

// Without another look at the head, the second task stays queued beside a sleeping worker.
TEST(RingInterrupted, TaskBehindOneThatAnotherTookIsFound) {
  for (const std::size_t n : {2u, 3u}) {
    std::uint64_t other = 0;
    std::uint64_t value = 0;
    {
      ring r(n);
      ASSERT_TRUE(push(r, 1) && push(r, 2));
      interrupt_with([&] { pop(r, other); });
      EXPECT_TRUE(r.is_ready());
      EXPECT_EQ(other, 1u);
    }
    {
      ring r(n);
      ASSERT_TRUE(push(r, 1) && push(r, 2));
      interrupt_with([&] { pop(r, other); });
      EXPECT_TRUE(pop(r, value));
      EXPECT_EQ(value, 2u);
    }
  }
}

TEST(RingInterrupted, LostRaceForATaskEndsWithTheNextTask) {
  ring r(2);
  std::uint64_t other = 0;
  std::uint64_t value = 0;
  ASSERT_TRUE(push(r, 1) && push(r, 2));
  interruptible_sync::interrupt_claim = [&] { pop(r, other); };
  EXPECT_TRUE(pop(r, value));
  EXPECT_EQ(other, 1u);
  EXPECT_EQ(value, 2u);
}

TEST(RingInterrupted, LostRaceForASlotEndsWithTheNextSlot) {
  ring r(2);
  std::uint64_t value = 0;
  interruptible_sync::interrupt_claim = [&] { push(r, 1); };
  EXPECT_TRUE(push(r, 2));
  EXPECT_TRUE(pop(r, value));
  EXPECT_EQ(value, 1u);
  EXPECT_TRUE(pop(r, value));
  EXPECT_EQ(value, 2u);
}

TEST(RingInterrupted, RoomBehindASlotThatAnotherFilledIsFound) {
  for (const std::size_t n : {2u, 3u}) {
    ring r(n);
    ASSERT_TRUE(push(r, 1));
    std::uint64_t other = 0;
    interrupt_with([&] { pop(r, other); });
    EXPECT_TRUE(push(r, 2));
    interrupt_with([&] { push(r, 3); });
    EXPECT_EQ(push(r, 4), n == 3);  // n is 2: what is taken meanwhile is no room
    EXPECT_EQ(r.pushed(), n == 3 ? 4u : 3u);
  }
}

// The one slot is filled and emptied meanwhile: its stamp is ahead, which is no refusal.
TEST(RingInterrupted, SlotUsedForAWholeLapMeanwhileIsNotFull) {
  ring r(1);
  std::uint64_t other = 0;
  interrupt_with([&] { static_cast<void>(push(r, 1) && pop(r, other)); });
  EXPECT_TRUE(push(r, 2));
  EXPECT_EQ(other, 1u);
  EXPECT_TRUE(pop(r, other));
  EXPECT_EQ(other, 2u);
}

TEST(RingInterrupted, CloseBetweenLookAndClaimRefuses) {
  ring r(2);
  interrupt_with([&] { r.close(); });
  errc why{};
  EXPECT_FALSE(push(r, 1, &why));
  EXPECT_EQ(why, errc::closed);
  EXPECT_EQ(r.pushed(), 0u);
  EXPECT_TRUE(r.is_drained());
}

// --- Several threads

/// One bit for each value: set twice is a duplicate, not set is lost.
class once {
 public:
  explicit once(std::size_t n) : words_(n / 64 + 1) {}
  bool set(std::uint64_t i) {
    const std::uint64_t bit = std::uint64_t{1} << (i % 64);
    return (words_.at(static_cast<std::size_t>(i / 64)).fetch_or(bit) & bit) == 0;
  }

 private:
  std::vector<std::atomic<std::uint64_t>> words_;
};

TEST_P(Ring, GivesEachValueToExactlyOneTaker) {
  constexpr std::uint64_t threads = 3;
  constexpr std::uint64_t each = 10000;
  ring r(GetParam());
  once seen(threads * each);
  std::atomic<std::uint64_t> taken{0};
  std::atomic<std::uint64_t> duplicates{0};
  std::atomic<std::uint64_t> disordered{0};
  std::vector<std::thread> all;
  for (std::uint64_t t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < each;) {
        const auto claimed = r.claim_back(static_cast<std::size_t>(1 + i % 3));
        r.for_each(claimed, [&](slot&, position at) {
          // What exceeds the end of the run is marked.
          put(r, at, i < each ? t * each + i : ~std::uint64_t{0});
          ++i;
        });
        if (claimed.count == 0) std::this_thread::yield();
      }
    });
    all.emplace_back([&] {
      std::vector<std::uint64_t> last(threads, 0);
      while (taken < threads * each) {
        std::uint64_t value = 0;
        if (!pop(r, value)) {
          std::this_thread::yield();
        } else if (value != ~std::uint64_t{0}) {
          if (!seen.set(value)) ++duplicates;
          auto& before = last.at(static_cast<std::size_t>(value / each));
          if (value % each < before) ++disordered;
          before = value % each;
          ++taken;
        }
      }
    });
  }
  for (auto& thread : all) thread.join();
  EXPECT_EQ(duplicates, 0u);
  EXPECT_EQ(disordered, 0u);
  EXPECT_EQ(taken, threads * each);
}

TEST(RingAlone, DecidesEachClaimThatRacesClose) {
  for (int round = 0; round < 300; ++round) {
    ring r(4);
    std::atomic<std::uint64_t> pushed{0};
    std::atomic<std::uint64_t> popped{0};
    std::atomic<std::uint64_t> late{0};
    std::vector<std::thread> all;
    for (int t = 0; t < 2; ++t) {
      all.emplace_back([&] {
        for (errc why{}; why != errc::closed;) {
          if (push(r, 1, &why)) {
            ++pushed;
          } else {
            std::this_thread::yield();
          }
        }
        if (push(r, 1)) ++late;
      });
    }
    all.emplace_back([&] {
      while (!r.is_drained()) {
        std::uint64_t value = 0;
        if (pop(r, value)) {
          ++popped;
        } else {
          std::this_thread::yield();
        }
      }
    });
    support::wait_until([&] { return pushed > 0; });
    r.close();
    for (auto& thread : all) thread.join();
    ASSERT_EQ(pushed, popped);
    ASSERT_EQ(r.pushed(), pushed);
    ASSERT_EQ(late, 0u);
  }
}

}  // namespace
