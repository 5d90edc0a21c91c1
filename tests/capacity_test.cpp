// A buffer of n holds exactly n waiting tasks, and tasks start in the order of acceptance.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <stop_token>
#include <vector>

#include "support.hpp"

namespace {

using fanout::ErrFull;
using fanout::pool;

class Capacity : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Of, Capacity, testing::Values(1, 2, 3, 4, 5, 7, 8, 64, 1000, 1024),
                         testing::PrintToStringParamName());

TEST_P(Capacity, IsExact) {
  pool p{{.buffer = GetParam()}};
  support::occupied busy(p);
  for (std::size_t i = 0; i < GetParam(); ++i) {
    ASSERT_EQ(p.size(), i);
    ASSERT_FALSE(p.try_do([] {}));
  }
  EXPECT_EQ(p.try_do([] {}), ErrFull);
  EXPECT_EQ(p.size(), GetParam());
  EXPECT_EQ(p.capacity(), GetParam());
}

TEST_P(Capacity, IsExactWhereverTheBufferBegins) {
  const std::size_t n = GetParam();
  pool p{{.buffer = n}};
  const std::size_t rounds = n < 10 ? 4 * n + 4 : 5;
  std::size_t before = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    {
      support::occupied busy(p);
      ASSERT_EQ(support::fill(p), n) << "after " << before << " tasks";
      ASSERT_EQ(p.try_do([] {}), ErrFull);
    }
    ASSERT_FALSE(p.wait_idle());
    ASSERT_EQ(p.size(), 0u);
    before += n + 1;
    for (std::size_t i = 0; i < n / 5; ++i, ++before) {
      ASSERT_FALSE(p.try_do([] {}));
      ASSERT_FALSE(p.wait_idle());
    }
  }
}

TEST_P(Capacity, DoesNotCountRunningTasks) {
  pool p{{.workers = 3, .buffer = GetParam()}};
  support::occupied busy(p);
  EXPECT_EQ(p.size(), 0u);
  EXPECT_EQ(p.stats().running, 3u);
  EXPECT_EQ(support::fill(p), GetParam());
  EXPECT_EQ(p.stats().queued, GetParam());
  EXPECT_EQ(p.stats().running, 3u);
}

// One at a time: a worker runs one task with the buffer full behind it.
TEST_P(Capacity, GrowsByOneForEachTaskThatStarts) {
  const std::size_t n = GetParam();
  std::vector<support::gate> started(4);
  std::vector<support::gate> released(4);
  pool p{{.buffer = n}};
  const auto submit = [&](std::size_t i) {
    return p.try_do([&, i] {
      started[i].open();
      released[i].wait();
    });
  };
  ASSERT_FALSE(submit(0));
  started[0].wait();
  for (std::size_t i = 1; i < 4; ++i) {
    if (n >= 4 || i == 1) {
      ASSERT_FALSE(submit(i));
    }
  }
  ASSERT_EQ(support::fill(p), n >= 4 ? n - 3 : n - 1);
  for (std::size_t i = 1; i < (n >= 4 ? 4u : 2u); ++i) {
    released[i - 1].open();
    started[i].wait();
    EXPECT_FALSE(p.try_do([] {})) << "after the start of task " << i;
    EXPECT_EQ(p.try_do([] {}), ErrFull) << "after the start of task " << i;
  }
  for (auto& gate : released) gate.open();
}

TEST_P(Capacity, KeepsTheOrderOfAcceptance) {
  const std::size_t n = GetParam();
  const std::size_t total = 10 * n + 3;
  std::vector<std::size_t> order;
  order.reserve(total);
  pool p{{.buffer = n}};
  for (std::size_t i = 0; i < total; ++i) {
    ASSERT_FALSE(p.do_wait([&order, i] { order.push_back(i); }));
  }
  p.close();
  std::vector<std::size_t> expected(total);
  std::iota(expected.begin(), expected.end(), std::size_t{0});
  EXPECT_EQ(order, expected);
}

TEST(Order, IsOneOverAllSubmittingFunctions) {
  std::vector<int> order;
  const auto append = [&](int i) { return [&order, i] { order.push_back(i); }; };
  pool p;
  {
    support::occupied busy(p);
    ASSERT_FALSE(p.try_do(append(0)));
    ASSERT_FALSE(p.do_wait(append(1)));
    const std::vector bulk{append(2), append(3), append(4)};
    ASSERT_FALSE(p.try_do_bulk(bulk).error);
    ASSERT_FALSE(p.try_do_for(std::chrono::hours::max(), append(5)));
    ASSERT_FALSE(p.do_wait(append(6), std::stop_token()));
    ASSERT_FALSE(p.try_do_until(std::chrono::steady_clock::now(), append(7)));
    ASSERT_FALSE(p.try_do(append(8)));
  }
  p.close();
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Order, IsThatOfStartsWithSeveralWorkers) {
  std::vector<int> order;
  support::gate held;
  support::gate all_submitted;
  support::gate done;
  pool p{{.workers = 3, .buffer = 100}};
  for (int i = 0; i < 2; ++i) {  // one worker is left
    support::gate started;
    ASSERT_FALSE(p.try_do([&] {
      started.open();
      held.wait();
    }));
    started.wait();
  }
  ASSERT_FALSE(p.try_do([&] { all_submitted.wait(); }));
  for (int i = 0; i < 50; ++i) ASSERT_FALSE(p.try_do([&order, i] { order.push_back(i); }));
  ASSERT_FALSE(p.try_do([&] { done.open(); }));
  all_submitted.open();
  done.wait();
  held.open();
  std::vector<int> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

// With one worker tasks run strictly one after another.
TEST(Order, LetsOneWorkerRunOneTaskAtATime) {
  int running = 0;  // unsynchronised: ThreadSanitizer is the judge
  int most = 0;
  pool p{{.buffer = 2}};
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(p.do_wait([&] {
      most = std::max(most, ++running);
      --running;
    }));
  }
  p.close();
  EXPECT_EQ(most, 1);
}

}  // namespace
