// Which submissions allocate, and how often.

#include "count_allocations.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::default_policy;
using fanout::ErrClosed;
using fanout::ErrFull;
using fanout::pool;
using support::allocations;

// A slot is one line, and 40 bytes of it are the closure's where a source_location is a pointer.
static_assert(sizeof(fanout::detail::slot<default_policy>) == 64);
static_assert(alignof(fanout::detail::slot<default_policy>) == 64);
static_assert(sizeof(fanout::source_location) != sizeof(void*) ||
              default_policy::inline_size == 40);
static_assert(sizeof(fanout::source_location) <= sizeof(void*) || default_policy::inline_size < 40);

/// A task of exactly that many bytes.
template <std::size_t Size> struct sized {
  std::array<unsigned char, Size> bytes{};
  void operator()() const {}
};
using largest_inline = sized<default_policy::inline_size>;
using smallest_boxed = sized<default_policy::inline_size + 1>;
static_assert(sizeof(largest_inline) == default_policy::inline_size);

struct alignas(std::max_align_t) most_aligned : sized<1> {};
struct alignas(2 * alignof(std::max_align_t)) over_aligned : sized<1> {};

struct throwing_move : sized<1> {
  throwing_move() = default;
  throwing_move(const throwing_move&) noexcept(false) {}
  throwing_move(throwing_move&&) noexcept(false) {}
};

/// Copies may throw, moves do not: it fits.
struct throwing_copy : sized<1> {
  throwing_copy() = default;
  throwing_copy(const throwing_copy&) noexcept(false) {}
  throwing_copy(throwing_copy&&) = default;
};

class Allocations : public testing::Test {
  void SetUp() override {
    if (!allocations::are_counted) GTEST_SKIP() << "this runtime counts no allocations";
  }
};

/// How many allocations the whole process makes while `action` runs.
template <class Action> std::uint64_t allocations_of(Action action) {
  const auto before = allocations::made.load();
  action();
  return allocations::made.load() - before;
}

TEST_F(Allocations, AreCounted) {
  std::unique_ptr<int> number;
  EXPECT_EQ(allocations_of([&] { number = std::make_unique<int>(); }), 1u);
}

class InlineTask : public Allocations {};

TEST_F(InlineTask, IsAcceptedRunAndDestroyedWithoutAnAllocation) {
  pool p{{.workers = 2, .buffer = 100}};
  int refused = 0;
  const auto count = allocations_of([&] {
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 50; ++i) refused += p.try_do(largest_inline()) ? 1 : 0;
      refused += p.wait_idle() ? 1 : 0;
    }
  });
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(p.stats().completed, 1000u);
}

TEST_F(InlineTask, MayBeAnyKindThatFits) {
  pool p;
  int refused = 0;
  std::array<throwing_copy, 2> copies;
  std::array<largest_inline, 2> tasks;
  auto number = std::make_unique<int>(1);
  std::function<void()> function = [] {};
  const auto count = allocations_of([&] {
    refused += p.try_do([] {}) ? 1 : 0;
    refused += p.try_do([](const std::stop_token&) {}) ? 1 : 0;
    refused += p.try_do(copies[0]) ? 1 : 0;
    refused += p.try_do(std::move(copies[1])) ? 1 : 0;
    refused += p.try_do(tasks[0]) ? 1 : 0;
    refused += p.try_do(most_aligned()) ? 1 : 0;
    refused += p.try_do([own = std::move(number)] {}) ? 1 : 0;
    if constexpr (sizeof(function) <= default_policy::inline_size) {
      refused += p.try_do(std::move(function)) ? 1 : 0;
    }
    refused += p.wait_idle() ? 1 : 0;
  });
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(refused, 0);
}

TEST_F(InlineTask, NeedsNoAllocationBySubmittingFunction) {
  pool p;
  int refused = 0;
  const std::vector<largest_inline> bulk(10);
  std::vector<largest_inline> input(10);
  const auto count = allocations_of([&] {
    refused += p.do_wait(largest_inline()) ? 1 : 0;
    refused += p.do_wait(largest_inline(), std::stop_token()) ? 1 : 0;
    refused += p.try_do_for(std::chrono::hours(1), largest_inline()) ? 1 : 0;
    refused += p.try_do_until(std::chrono::system_clock::now(), largest_inline()) ? 1 : 0;
    refused += p.try_do_bulk(bulk).error ? 1 : 0;
    refused += p.try_do_bulk(support::input<largest_inline&>(input.data(), 10)).error ? 1 : 0;
    refused += p.wait_idle() ? 1 : 0;
  });
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(refused, 0);
}

TEST_F(InlineTask, IsRefusedWithoutAnAllocation) {
  pool p{{.buffer = 2}};
  int accepted = 0;
  {
    support::occupied busy(p);
    ASSERT_EQ(support::fill(p), 2u);
    const std::vector<largest_inline> bulk(10);
    std::stop_source stop;
    stop.request_stop();
    const auto count = allocations_of([&] {
      for (int i = 0; i < 100; ++i) accepted += p.try_do(largest_inline()) == ErrFull ? 0 : 1;
      accepted += p.try_do(std::function<void()>()) ? 0 : 1;
      accepted += p.try_do_bulk(bulk).error ? 0 : 1;
      accepted += p.do_wait(largest_inline(), stop.get_token()) ? 0 : 1;
      accepted += p.try_do_for(std::chrono::microseconds(1), largest_inline()) ? 0 : 1;
    });
    EXPECT_EQ(count, 0u);
  }
  p.close();
  EXPECT_EQ(allocations_of([&] { accepted += p.try_do(largest_inline()) == ErrClosed ? 0 : 1; }),
            0u);
  EXPECT_EQ(accepted, 0);
}

TEST_F(InlineTask, NeedsNoAllocationForABlockedSubmitter) {
  std::error_code answer;
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  support::watched_pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 1u);
  std::stop_source stop;
  std::thread submitter([&] {
    before = allocations::made;
    answer = p.do_wait(largest_inline(), stop.get_token());
    after = allocations::made;
  });
  support::wait_until([] { return support::watched_sync::blocked == 1; });
  busy.release();
  submitter.join();
  EXPECT_FALSE(answer);
  EXPECT_EQ(after - before, 0u);
}

template <class Task> class BoxedTask : public Allocations {};
using boxed = testing::Types<smallest_boxed, sized<1000>, over_aligned, throwing_move>;
TYPED_TEST_SUITE(BoxedTask, boxed, );

TYPED_TEST(BoxedTask, AllocatesExactlyOnce) {
  pool p{{.buffer = 100}};
  const TypeParam lvalue;
  int refused = 0;
  const auto freed_before = allocations::freed.load();
  const auto count = allocations_of([&] {
    for (int i = 0; i < 10; ++i) refused += p.try_do(TypeParam()) ? 1 : 0;
    for (int i = 0; i < 10; ++i) refused += p.try_do(lvalue) ? 1 : 0;
    for (int i = 0; i < 10; ++i) refused += p.do_wait(lvalue) ? 1 : 0;
    refused += p.try_do_bulk(std::array<TypeParam, 10>()).error ? 1 : 0;
    refused += p.wait_idle() ? 1 : 0;
  });
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(count, 40u);
  EXPECT_EQ(allocations::freed.load() - freed_before, 40u);
}

TYPED_TEST(BoxedTask, LeaksNothingWhenRefused) {
  pool p{{.buffer = 1}};
  int accepted = 0;
  const TypeParam lvalue;
  {
    support::occupied busy(p);
    ASSERT_EQ(support::fill(p), 1u);
    const auto full = allocations::alive();
    for (int i = 0; i < 10; ++i) {
      accepted += p.try_do(TypeParam()) ? 0 : 1;
      accepted += p.try_do(lvalue) ? 0 : 1;
      accepted += p.try_do_for(std::chrono::nanoseconds(1), lvalue) ? 0 : 1;
      accepted += p.try_do_bulk(std::span(&lvalue, 1)).error ? 0 : 1;
    }
    EXPECT_EQ(allocations::alive(), full);
  }
  p.close();
  const auto closed = allocations::alive();
  accepted += p.try_do(TypeParam()) ? 0 : 1;
  accepted += p.do_wait(lvalue) ? 0 : 1;
  EXPECT_EQ(allocations::alive(), closed);
  EXPECT_EQ(accepted, 0);
}

// What waits in the buffer of a pool that goes away has run and is gone with it.
TYPED_TEST(BoxedTask, IsFreedWithThePool) {
  const auto before = allocations::alive();
  {
    pool p{{.buffer = 4}};
    support::occupied busy(p);
    for (int i = 0; i < 4; ++i) ASSERT_FALSE(p.try_do(TypeParam()));
  }
  EXPECT_EQ(allocations::alive(), before);
}

struct roomy : default_policy {
  static constexpr std::size_t inline_size = 104;
};

class InlineSize : public Allocations {};

TEST_F(InlineSize, IsThePolicys) {
  fanout::basic_pool<roomy> p;
  int refused = 0;
  EXPECT_EQ(allocations_of([&] {
              refused += p.try_do(sized<104>()) ? 1 : 0;
              refused += p.wait_idle() ? 1 : 0;
            }),
            0u);
  EXPECT_EQ(allocations_of([&] {
              refused += p.try_do(sized<105>()) ? 1 : 0;
              refused += p.wait_idle() ? 1 : 0;
            }),
            1u);
  EXPECT_EQ(refused, 0);
}

struct cramped : default_policy {
  static constexpr std::size_t inline_size = sizeof(void*);
};

TEST_F(InlineSize, MayBeThatOfAPointer) {
  fanout::basic_pool<cramped> p;
  int refused = 0;
  EXPECT_EQ(allocations_of([&] {
              refused += p.try_do(sized<sizeof(void*)>()) ? 1 : 0;
              refused += p.wait_idle() ? 1 : 0;
            }),
            0u);
  EXPECT_EQ(allocations_of([&] {
              refused += p.try_do(sized<sizeof(void*) + 1>()) ? 1 : 0;
              refused += p.wait_idle() ? 1 : 0;
            }),
            1u);
  EXPECT_EQ(refused, 0);
}

struct strict : default_policy {
  static constexpr bool allow_heap = false;
};

TEST(AllowHeap, OffLeavesWhatFits) {
  fanout::basic_pool<strict> p;
  EXPECT_FALSE(p.try_do(largest_inline()));
  EXPECT_FALSE(p.wait_idle());
}

}  // namespace
