// detail::native_sync and detail::store_load: what the platform must give for the machine to hold.

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using native_sync = fanout::detail::native_sync;
using barrier = fanout::detail::store_load<native_sync>;

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

/// Store buffering (Dekker): each thread stores to its place, passes its barrier and loads the
/// other's, `rounds` times, one of them a little later from round to round, so that some rounds
/// meet whatever the compiler made of it. Returns how often neither saw the other, which the
/// barriers have to exclude. Needs two cores to show a defect, and optimisation: without it g++
/// makes every operation sequentially consistent.
template <class Mine, class Yours>
std::size_t missed(std::size_t rounds, Mine my_barrier, Yours your_barrier) {
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
      at[i].yours.store(1, std::memory_order_relaxed);
      your_barrier();
      at[i].you_saw = at[i].mine.load(std::memory_order_relaxed) == 1;
    }
  });
  for (std::size_t i = 0; i < rounds; ++i) {
    meet(i);
    for (auto& place : at[i].others) place.value.store(1, std::memory_order_relaxed);
    at[i].mine.store(1, std::memory_order_relaxed);
    my_barrier();
    at[i].i_saw = at[i].yours.load(std::memory_order_relaxed) == 1;
  }
  other.join();
  std::size_t count = 0;
  for (const auto& one : at) count += one.i_saw || one.you_saw ? 0u : 1u;
  return count;
}

TEST(Platform, FenceOrdersAStoreBeforeALaterLoad) {
  EXPECT_EQ(missed(
                20000, [] { native_sync::fence(); }, [] { native_sync::fence(); }),
            0u);
}

TEST(Platform, LightBarrierIsEnoughAgainstAHeavyOne) {
  const barrier order;
  EXPECT_EQ(missed(
                20000, [&] { order.light(); }, [&] { order.heavy(); }),
            0u);
}

TEST(Platform, FullBarrierIsEnoughAgainstAHeavyOneAndItself) {
  const barrier order;
  EXPECT_EQ(missed(
                20000, [&] { order.full(); }, [&] { order.heavy(); }),
            0u);
  EXPECT_EQ(missed(
                20000, [&] { order.full(); }, [&] { order.full(); }),
            0u);
}

TEST(Platform, HasItsProcessBarrierEachTimeOrNever) {
  const bool has = native_sync::has_process_barrier();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(native_sync::has_process_barrier(), has);
  EXPECT_TRUE(!has || native_sync::process_barrier());
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

}  // namespace
