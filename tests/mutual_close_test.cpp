// Pools that close each other from their own tasks.
#include <gtest/gtest.h>
#include <fanout/fanout.hpp>

#include <array>
#include <chrono>
#include <latch>
#include <memory>
#include <system_error>
#include <utility>

#include "support.hpp"

namespace {

// The task of each of `Count` pools closes the next pool, the last one's the first.
template <std::size_t Count> std::array<std::error_code, Count> close_in_a_circle() {
  std::array<std::error_code, Count> answers;
  std::latch all_run(Count);
  std::array<std::unique_ptr<fanout::pool>, Count> pools;
  for (auto& each : pools) each = std::make_unique<fanout::pool>();
  for (std::size_t i = 0; i < Count; ++i) {
    EXPECT_FALSE(pools[i]->try_do([&, i] {
      all_run.arrive_and_wait();
      answers[i] = pools[(i + 1) % Count]->close();
    }));
  }
  for (auto& each : pools) each->close();
  return answers;
}

template <std::size_t Count> void expect_one_to_give_way() {
  for (int round = 0; round < 200; ++round) {
    const auto answers = close_in_a_circle<Count>();
    std::size_t gave_way = 0;
    for (const auto& each : answers) gave_way += each == fanout::errc::would_deadlock ? 1u : 0u;
    ASSERT_EQ(gave_way, 1u);
  }
}

TEST(MutualClose, OfTwoPoolsOneGivesWay) { expect_one_to_give_way<2>(); }
TEST(MutualClose, OfThreePoolsOneGivesWay) { expect_one_to_give_way<3>(); }

TEST(MutualClose, AWorkerMayCloseAnotherPool) {
  fanout::pool other;
  std::error_code answer = fanout::ErrFull;
  {
    fanout::pool pool;
    ASSERT_FALSE(pool.try_do([&] { answer = other.close(); }));
  }
  EXPECT_FALSE(answer);
  EXPECT_EQ(other.try_do([] {}), fanout::ErrClosed);
}

// A worker of the first pool closes the second, and there, as it discards a task, the other two.
TEST(MutualClose, WhoIsInsideTwoPoolsMayCloseAThird) {
  fanout::pool first;
  fanout::pool second;
  fanout::pool third;
  std::error_code of_first;
  std::error_code of_third = fanout::ErrFull;
  support::on_worker(first, [&] {
    support::occupied busy(second);
    std::shared_ptr<void> capture(nullptr, [&](void*) {
      of_third = third.close();
      of_first = first.close();
      busy.release();
    });
    EXPECT_FALSE(second.try_do([mine = std::move(capture)] {}));
    return second.close_for(std::chrono::seconds(0));
  });
  EXPECT_FALSE(of_third);
  EXPECT_EQ(of_first, fanout::errc::would_deadlock);
}

}  // namespace
