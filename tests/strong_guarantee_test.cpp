// If copying a task or allocating for it throws, nothing was accepted and the pool is whole.

#include "count_allocations.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <new>
#include <span>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "support.hpp"

namespace {

using fanout::pool;
using support::allocations;

struct thrown {};

/// A task whose k-th copy or move throws. Moves throw only where they may.
template <std::size_t Ballast, bool NothrowMove> struct fragile {
  inline static int until_throw = -1;  // so many more copies succeed; negative: all
  inline static std::atomic<int> alive{0};
  inline static std::atomic<int> runs{0};

  bool intact = true;
  std::array<char, Ballast> ballast{};

  fragile() { ++alive; }
  fragile(const fragile& other) : intact(other.intact) {
    step();
    ++alive;
  }
  fragile(fragile&& other) noexcept(NothrowMove) {
    if constexpr (!NothrowMove) step();
    intact = std::exchange(other.intact, false);
    ++alive;
  }
  ~fragile() { --alive; }
  void operator()() { ++runs; }

  static void step() {
    if (until_throw >= 0 && until_throw-- == 0) throw thrown();
  }
};

using inline_task = fragile<1, true>;
using boxed_task = fragile<200, true>;
using throwing_move = fragile<1, false>;
using large_throwing_move = fragile<200, false>;

struct try_do {
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do(std::forward<F>(f));
  }
};
struct do_wait {
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.do_wait(std::forward<F>(f));
  }
};
struct do_wait_stop {
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.do_wait(std::forward<F>(f), std::stop_token());
  }
};
struct try_do_for {
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do_for(std::chrono::hours(1), std::forward<F>(f));
  }
};
struct try_do_until {
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do_until(std::chrono::steady_clock::now(), std::forward<F>(f));
  }
};
struct try_do_bulk {
  template <class F> static std::error_code submit(pool& p, F&& f) {
    if constexpr (std::is_lvalue_reference_v<F>) {
      return p.try_do_bulk(std::span(&f, 1)).error;
    } else {
      return p.try_do_bulk(support::forward_rvalues(&f, 1)).error;
    }
  }
};

/// Lets the first, second, ... step of a submission throw until one gets through. Returns what is
/// wrong; `steps` is how many threw. Each failed attempt is made with room for one task.
template <class Function, class Task, class SetFailure>
std::string fail_at_each_step(bool rvalue, SetFailure fail_after, int& steps) {
  Task::runs = 0;
  std::string wrong;
  pool p{{.buffer = 2}};
  {
    support::occupied busy(p);
    if (p.try_do([] {})) return "the pool is full too early";
    const auto blocks = allocations::alive();
    Task task;
    for (steps = 0; wrong.empty(); ++steps) {
      bool threw = false;
      std::error_code err;
      fail_after(steps);
      try {
        err = rvalue ? Function::submit(p, std::move(task)) : Function::submit(p, task);
      } catch (const thrown&) {
        threw = true;
      } catch (const std::bad_alloc&) {
        threw = true;
      }
      fail_after(-1);
      if (!threw) {
        if (err) wrong = "what did not throw was refused: " + err.message();
        break;
      }
      if (p.size() != 1 || p.stats().accepted != 2) wrong = "it threw and took the task";
      if (Task::alive != 1) wrong = "it threw and left a copy";
      if (allocations::alive() != blocks) wrong = "it threw and left an allocation";
      if (rvalue && !task.intact) wrong = "it threw and moved from its argument";
    }
    if (wrong.empty() && !p.try_do([] {})) wrong = "a slot too many";
  }
  p.close();
  if (Task::runs != 1) wrong += "; not run exactly once";
  if (Task::alive != 0) wrong += "; not destroyed";
  return wrong;
}

template <class Function> class StrongGuarantee : public testing::Test {};
using functions =
    testing::Types<try_do, do_wait, do_wait_stop, try_do_for, try_do_until, try_do_bulk>;
TYPED_TEST_SUITE(StrongGuarantee, functions, );

template <class Task> constexpr auto copies_fail = [](int after) { Task::until_throw = after; };

constexpr auto allocations_fail = [](int after) {
  allocations::until_failure = after < 0 ? allocations::never : static_cast<std::uint64_t>(after);
};

TYPED_TEST(StrongGuarantee, HoldsWhenTheCopyOfAnLvalueThrows) {
  int steps = 0;
  EXPECT_EQ((fail_at_each_step<TypeParam, inline_task>(false, copies_fail<inline_task>, steps)),
            "");
  EXPECT_GE(steps, 1);
  EXPECT_EQ((fail_at_each_step<TypeParam, boxed_task>(false, copies_fail<boxed_task>, steps)), "");
  EXPECT_GE(steps, 1);
}

TYPED_TEST(StrongGuarantee, HoldsWhereTheMoveMayThrowToo) {
  int steps = 0;
  for (const bool rvalue : {false, true}) {
    EXPECT_EQ(
        (fail_at_each_step<TypeParam, throwing_move>(rvalue, copies_fail<throwing_move>, steps)),
        "");
    EXPECT_GE(steps, 1);
    EXPECT_EQ((fail_at_each_step<TypeParam, large_throwing_move>(
                  rvalue, copies_fail<large_throwing_move>, steps)),
              "");
    EXPECT_GE(steps, 1);
  }
}

TYPED_TEST(StrongGuarantee, HoldsWhenAllocatingThrows) {
  if (!allocations::are_counted) GTEST_SKIP() << "the operator new of this runtime stays";
  int steps = 0;
  for (const bool rvalue : {false, true}) {
    EXPECT_EQ((fail_at_each_step<TypeParam, boxed_task>(rvalue, allocations_fail, steps)), "");
    EXPECT_EQ(steps, 1);
    EXPECT_EQ((fail_at_each_step<TypeParam, throwing_move>(rvalue, allocations_fail, steps)), "");
    EXPECT_EQ(steps, 1);
    EXPECT_EQ((fail_at_each_step<TypeParam, inline_task>(rvalue, allocations_fail, steps)), "");
    EXPECT_EQ(steps, 0);
  }
}

}  // namespace
