// detail::native_sync, and the order of sequentially consistent operations: what the platform must
// give for the machine to hold.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using native_sync = fanout::detail::native_sync;

/// Two places, each written by one thread and read by the other; and others that are only written,
/// so that the store to `mine` has to queue up behind them.
struct alignas(256) crossing {
  struct alignas(128) place {
    std::atomic<int> value{0};
  };
  place others[8];
  std::atomic<int> mine{0};
  alignas(128) std::atomic<int> yours{0};
  alignas(128) bool i_saw = false;
  alignas(128) bool you_saw = false;
};

/// Store buffering (Dekker): each thread changes its place and loads the other's, `rounds` times,
/// one of them a little later from round to round, so that some rounds meet whatever the compiler
/// made of it. Returns how often neither saw the other, which the orders have to exclude. Needs two
/// cores to show a defect, and optimisation: without it g++ makes every operation sequentially
/// consistent.
template <class Mine, class Yours>
std::size_t missed(std::size_t rounds, Mine change_mine, Yours change_yours) {
  std::vector<crossing> at(rounds);
  std::atomic<std::size_t> arrived{0};
  const auto meet = [&](std::size_t round) {
    arrived.fetch_add(1);
    for (unsigned looks = 0; arrived.load() < 2 * (round + 1); ++looks) {
      if (looks > 1000) std::this_thread::yield();
    }
  };
  std::thread other([&] {
    for (std::size_t i = 0; i < rounds; ++i) {
      at[i].yours.store(0, std::memory_order_relaxed);  // its line is here
      meet(i);
      for (std::size_t late = 0; late < i % 128; ++late) {
        std::atomic_signal_fence(std::memory_order_seq_cst);  // so that the loop is not removed
      }
      change_yours(at[i].yours);
      at[i].you_saw = at[i].mine.load(fanout::detail::seq_cst) == 1;
    }
  });
  for (std::size_t i = 0; i < rounds; ++i) {
    meet(i);
    for (auto& place : at[i].others) place.value.store(1, std::memory_order_relaxed);
    change_mine(at[i].mine);
    at[i].i_saw = at[i].yours.load(fanout::detail::seq_cst) == 1;
  }
  other.join();
  std::size_t count = 0;
  for (const auto& one : at) count += one.i_saw || one.you_saw ? 0u : 1u;
  return count;
}

void store(std::atomic<int>& place) { place.store(1, fanout::detail::seq_cst); }
void add(std::atomic<int>& place) { place.fetch_add(1, fanout::detail::seq_cst); }
void exchange(std::atomic<int>& place) {
  int before = 0;
  while (
      !place.compare_exchange_weak(before, 1, fanout::detail::seq_cst, std::memory_order_relaxed))
    before = 0;
}

// (A), (B), (C), (G): a claim against a count or a mark in the word.
TEST(Platform, ExchangeIsOrderedBeforeALaterLoad) { EXPECT_EQ(missed(20000, exchange, add), 0u); }

// (D): the mark that a run ended against the count of who waits.
TEST(Platform, StoreIsOrderedBeforeALaterLoad) {
#if defined(FANOUT_TESTS_BRIEF)
  GTEST_SKIP() << "qemu on x86 lets a load pass a sequentially consistent store of this machine's";
#endif
  EXPECT_EQ(missed(20000, store, store), 0u);
  EXPECT_EQ(missed(20000, store, add), 0u);
}

TEST(Platform, ParkReturnsAtOnceWhenTheWordHasChanged) {
  std::atomic<std::uint32_t> word{1};
  native_sync::park(word, 0);  // or the test's timeout
}

TEST(Platform, UnparkEndsOnePark) {
  constexpr int threads = 3;
  std::atomic<std::uint32_t> permits{0};
  std::atomic<int> awake{0};
  const auto sleep = [&] {
    for (auto free = permits.load();;) {
      if (free == 0) {
        native_sync::park(permits, 0);
        free = permits.load();
      } else if (permits.compare_exchange_weak(free, free - 1)) {
        break;
      }
    }
    ++awake;
  };
  std::vector<std::thread> sleepers;
  for (int i = 0; i < threads; ++i) sleepers.emplace_back(sleep);
  for (int i = 1; i <= threads; ++i) {
    EXPECT_LT(awake, i);
    ++permits;
    native_sync::unpark_one(permits);
    support::wait_until([&] { return awake == i; });
  }
  for (auto& sleeper : sleepers) sleeper.join();
}

TEST(Platform, TimedParkEndsByItsDeadlineAndByAnUnpark) {
  using namespace std::chrono_literals;
  std::atomic<std::uint32_t> word{0};
  native_sync::timed_parking place;
  const auto deadline = native_sync::now() + 20ms;
  while (native_sync::now() < deadline) place.park_until(word, 0, deadline);
  EXPECT_GE(native_sync::now(), deadline);
  place.park_until(word, 1, native_sync::now() + 1h);  // or the test's timeout
  std::thread waker([&] {
    word = 1;
    place.unpark(word);
  });
  while (word == 0) place.park_until(word, 0, native_sync::now() + 1h);
  waker.join();
}

}  // namespace
