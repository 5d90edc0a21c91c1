// submit(): the future gets the result, the exception, or why there is neither.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "count_allocations.hpp"
#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;
using support::allocations;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

template <class F> using future_of = decltype(std::declval<pool&>().submit(std::declval<F>()));
static_assert(std::is_same_v<future_of<void (*)()>, std::future<void>>);
static_assert(std::is_same_v<future_of<int (*)()>, std::future<int>>);
static_assert(std::is_same_v<future_of<int& (*)()>, std::future<int&>>);
static_assert(
    std::is_same_v<future_of<std::string (*)(std::stop_token)>, std::future<std::string>>);

/// The code that the future holds as a std::system_error.
template <class T> std::error_code code_in(std::future<T> future) {
  try {
    future.get();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

// --- Results

TEST(Submit, BringsTheResult) {
  pool p;
  EXPECT_EQ(p.submit([] { return 6 * 7; }).get(), 42);
  EXPECT_EQ(p.submit([] { return std::string(1000, 'x'); }).get(), std::string(1000, 'x'));
}

TEST(Submit, BringsTheEndOfATaskWithoutResult) {
  pool p;
  int written = 0;  // plain: get() orders what the task writes
  p.submit([&] { written = 1; }).get();
  EXPECT_EQ(written, 1);
}

TEST(Submit, BringsAReference) {
  pool p;
  int value = 1;
  int& result = p.submit([&]() -> int& { return value; }).get();
  EXPECT_EQ(&result, &value);
}

TEST(Submit, BringsAMoveOnlyResultOfAMoveOnlyTask) {
  pool p;
  auto owner = std::make_unique<int>(7);
  const int* const place = owner.get();
  auto result = p.submit([owner = std::move(owner)]() mutable { return std::move(owner); }).get();
  EXPECT_EQ(result.get(), place);
}

TEST(Submit, GivesTheTaskThePoolsToken) {
  pool p;
  const auto same = [&](const std::stop_token& token) { return token == p.get_stop_token(); };
  EXPECT_TRUE(p.submit(same).get());
}

TEST(Submit, CallsARvalueOfWhatItWasGiven) {
  struct which {
    int operator()() && { return 1; }
    int operator()() & { return 2; }
  };
  pool p;
  which task;
  EXPECT_EQ(p.submit(task).get(), 1);
  EXPECT_EQ(p.submit(std::as_const(task)).get(), 1);
  EXPECT_EQ(p.submit(which()).get(), 1);
}

TEST(Submit, BringsTheResultsOfManyTasks) {
  pool p{{.workers = 2}};
  std::vector<std::future<std::size_t>> futures;
  for (std::size_t i = 0; i < 500; ++i) futures.push_back(p.submit([i] { return i; }));
  for (std::size_t i = 0; i < 500; ++i) ASSERT_EQ(futures[i].get(), i);
}

TEST(Submit, RunsATaskWhoseFutureWasDropped) {
  pool p;
  int ran = 0;
  static_cast<void>(p.submit([&] { ++ran; }));
  p.close();
  EXPECT_EQ(ran, 1);
}

// --- Exceptions

TEST(Submit, BringsTheExceptionAndReportsItNowhereElse) {
  int reported = 0;
  pool p{{.on_error = [&](const fanout::error_info&) { ++reported; }}};
  EXPECT_THROW(p.submit([]() -> int { throw std::out_of_range("no"); }).get(), std::out_of_range);
  EXPECT_THROW(p.submit([] { throw 42; }).get(), int);
  p.close();
  EXPECT_EQ(reported, 0);
}

/// A result whose move throws from the n-th on.
struct throws_when_moved {
  int* moves_left;
  explicit throws_when_moved(int& moves) : moves_left(&moves) {}
  throws_when_moved(throws_when_moved&& from) : moves_left(from.moves_left) {
    if ((*moves_left)-- == 0) throw std::domain_error("moved");
  }
  throws_when_moved& operator=(throws_when_moved&&) = default;
};

TEST(Submit, BringsWhatTheMoveOfTheResultThrows) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "std::call_once cannot throw under this sanitizer";
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "std::call_once cannot throw under this sanitizer";
#endif
#endif
  pool p;
  int thrown = 0;
  for (int allowed = 0; allowed < 10; ++allowed) {
    int moves = allowed;
    auto future = p.submit([&moves] { return throws_when_moved(moves); });
    future.wait();
    if (moves >= 0) break;  // as many moves as it takes
    EXPECT_THROW(future.get(), std::domain_error);
    ++thrown;
  }
  EXPECT_GT(thrown, 0);
  EXPECT_LT(thrown, 10);
  EXPECT_EQ(p.submit([] { return 1; }).get(), 1) << "the pool is whole";
}

// --- Ordering

/// A task that knows, when it is destroyed, whether its future was ready before.
template <std::size_t Ballast> struct witness {
  struct notes {
    std::shared_future<int> future;
    bool destroyed = false, too_late = false;
  };
  notes* to;
  bool throws;
  std::array<std::byte, Ballast> ballast{};

  witness(notes& n, bool t) : to(&n), throws(t) {}
  witness(witness&& from) noexcept : to(std::exchange(from.to, nullptr)), throws(from.throws) {}
  ~witness() {
    if (to == nullptr) return;
    to->destroyed = true;
    to->too_late = to->future.wait_for(0s) == std::future_status::ready;
  }
  int operator()() const {
    if (throws) throw std::runtime_error("thrown");
    return 1;
  }
};

template <std::size_t Ballast> void expect_destruction_before_the_future_is_ready(bool throws) {
  pool p;
  occupied busy(p);
  typename witness<Ballast>::notes notes;
  notes.future = p.submit(witness<Ballast>(notes, throws)).share();
  busy.release();
  notes.future.wait();
  EXPECT_TRUE(notes.destroyed);
  EXPECT_FALSE(notes.too_late);
}

TEST(Submit, DestroysTheTaskBeforeTheFutureIsReady) {
  for (const bool throws : {false, true}) {
    expect_destruction_before_the_future_is_ready<1>(throws);
    expect_destruction_before_the_future_is_ready<500>(throws);
  }
}

// --- Refusals

TEST(Submit, RefusedByAFullPoolLeavesItsArgumentAlone) {
  pool p{{.buffer = 1}};
  const occupied busy(p);
  support::fill(p);
  const auto rejected = p.stats().rejected;
  auto task = [owner = std::make_unique<int>(7)] { return *owner; };
  EXPECT_EQ(code_in(p.submit(std::move(task))), errc::full);
  EXPECT_EQ(p.stats().rejected, rejected + 1);
  EXPECT_EQ(task(), 7);
}

TEST(Submit, RefusedByAClosedPoolLeavesItsArgumentAlone) {
  pool p;
  p.close();
  auto task = [owner = std::make_unique<int>(7)] { return *owner; };
  EXPECT_EQ(code_in(p.submit(std::move(task))), errc::closed);
  EXPECT_EQ(task(), 7);
}

TEST(Submit, RefusedLeavesAnArgumentAloneWhoseMoveMayThrow) {
  struct fragile {
    bool intact = true;
    fragile() = default;
    fragile(const fragile&) = default;
    fragile(fragile&& from) noexcept(false) : intact(std::exchange(from.intact, false)) {}
    int operator()() const { return intact ? 1 : 0; }
  };
  pool p{{.buffer = 1}};
  fragile task;
  {
    const occupied busy(p);
    support::fill(p);
    EXPECT_EQ(code_in(p.submit(std::move(task))), errc::full);
    EXPECT_TRUE(task.intact);
    EXPECT_EQ(code_in(p.submit(task)), errc::full);
  }
  p.wait_idle();
  EXPECT_EQ(p.submit(std::move(task)).get(), 1);
}

TEST(Submit, RefusesEmptyTasks) {
  pool p;
  EXPECT_EQ(code_in(p.submit(std::function<int()>())), errc::empty_task);
  EXPECT_EQ(code_in(p.submit(static_cast<void (*)()>(nullptr))), errc::empty_task);
  EXPECT_EQ(p.stats().accepted, 0u);
}

TEST(Submit, DiscardedBringsCanceled) {
  pool p;
  gate started;
  ASSERT_FALSE(p.try_do([&](const std::stop_token& stop) {
    started.open();
    support::wait_until([&] { return stop.stop_requested() && p.size() == 0; });
  }));
  started.wait();
  int ran = 0;
  const auto capture = std::make_shared<int>(0);
  auto waiting = p.submit([&, capture] { ++ran; });
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_EQ(code_in(std::move(waiting)), errc::canceled);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(capture.use_count(), 1);
  EXPECT_EQ(p.stats().discarded, 1u);
}

TEST(Submit, AcceptsNothingWhenAnAllocationFails) {
  if (!allocations::are_counted) GTEST_SKIP() << "the operator new of this runtime stays";
  struct large {
    std::unique_ptr<int> owner = std::make_unique<int>(7);
    std::array<std::byte, 500> ballast{};
    int operator()() const { return *owner; }
  };
  pool p;
  large task;
  std::uint64_t failures = 0;
  for (std::future<int> future; !future.valid();) {
    try {
      allocations::until_failure = failures;
      future = p.submit(std::move(task));
      allocations::until_failure = allocations::never;
      EXPECT_EQ(future.get(), 7);
    } catch (const std::bad_alloc&) {
      allocations::until_failure = allocations::never;
      ++failures;
      ASSERT_NE(task.owner, nullptr);
      ASSERT_EQ(p.stats().accepted, 0u);
    }
    if (task.owner == nullptr) break;
  }
  EXPECT_GE(failures, 2u) << "the shared state and the box";
}

}  // namespace
