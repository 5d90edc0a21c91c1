// Refused means untouched, by every submitting function; and which refusal comes first.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <ranges>
#include <span>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;

/// A task that knows whether it was moved from, and that may be empty.
template <std::size_t Size, bool NothrowMove, bool Copyable> struct probe {
  bool intact = true;
  bool empty = false;
  std::byte ballast[Size]{};

  probe() = default;
  probe(probe&& other) noexcept(NothrowMove)
      : intact(std::exchange(other.intact, false)), empty(std::exchange(other.empty, false)) {}
  probe(const probe& other)
    requires Copyable
      : intact(other.intact), empty(other.empty) {}
  void operator()() const {}
  bool operator==(std::nullptr_t) const { return empty; }
};
using inline_task = probe<1, true, true>;
using inline_move_only = probe<1, true, false>;
using boxed_task = probe<256, true, true>;
using boxed_move_only = probe<256, true, false>;
using throwing_move = probe<1, false, true>;

std::stop_token stopped() {
  std::stop_source source;
  source.request_stop();
  return source.get_token();
}

// Every submitting function, in the form that waits least, with its answers.
struct try_do {
  static constexpr errc when_full = errc::full;
  static constexpr errc when_full_on_worker = errc::full;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do(std::forward<F>(f));
  }
};
struct do_wait {
  static constexpr errc when_full{};  // would block
  static constexpr errc when_full_on_worker = errc::would_deadlock;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.do_wait(std::forward<F>(f));
  }
};
struct do_wait_stopped {
  static constexpr errc when_full = errc::canceled;
  static constexpr errc when_full_on_worker = errc::would_deadlock;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.do_wait(std::forward<F>(f), stopped());
  }
};
struct try_do_for {
  static constexpr errc when_full = errc::timed_out;
  static constexpr errc when_full_on_worker = errc::would_deadlock;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do_for(std::chrono::milliseconds(1), std::forward<F>(f));
  }
};
struct try_do_until {
  static constexpr errc when_full = errc::timed_out;
  static constexpr errc when_full_on_worker = errc::would_deadlock;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do_until(std::chrono::steady_clock::now(), std::forward<F>(f));
  }
};
/// A range of one, claimed in one step where its elements allow it.
struct try_do_bulk {
  static constexpr errc when_full = errc::full;
  static constexpr errc when_full_on_worker = errc::full;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    const auto result = [&] {
      if constexpr (std::is_lvalue_reference_v<F>) {
        return p.try_do_bulk(std::span(&f, 1));
      } else {
        return p.try_do_bulk(support::forward_rvalues(&f, 1));
      }
    }();
    EXPECT_EQ(result.accepted, result.error ? 0u : 1u);
    return result.error;
  }
};
/// The same, one by one.
struct try_do_bulk_of_input {
  static constexpr errc when_full = errc::full;
  static constexpr errc when_full_on_worker = errc::full;
  template <class F> static std::error_code submit(pool& p, F&& f) {
    return p.try_do_bulk(support::input<F&&>(&f, 1)).error;
  }
};

/// Submits a Task as an rvalue and, if it copies, as both kinds of lvalue. Returns what went wrong.
template <class Function, class Task> std::string submit_as(pool& p, errc why, bool empty) {
  Task task;
  task.empty = empty;
  const auto untouched = [&] { return task.intact && task.empty == empty; };
  if (const auto err = Function::submit(p, std::move(task)); err != why) {
    return "an rvalue was answered: " + err.message();
  }
  if (!untouched()) return "an rvalue was moved from";
  if constexpr (std::is_copy_constructible_v<Task>) {
    if (const auto err = Function::submit(p, task); err != why) {
      return "an lvalue was answered: " + err.message();
    }
    if (!untouched()) return "an lvalue was moved from";
    if (const auto err = Function::submit(p, std::as_const(task)); err != why) {
      return "a const lvalue was answered: " + err.message();
    }
    if (!untouched()) return "a const lvalue was moved from";
  }
  return {};
}

template <class Function> std::string submit_each_kind(pool& p, errc why, bool empty = false) {
  std::string wrong;
  const auto add = [&](const char* kind, const std::string& what) {
    if (!what.empty()) wrong += std::string(kind) + ": " + what + '\n';
  };
  add("inline task", submit_as<Function, inline_task>(p, why, empty));
  add("inline move-only task", submit_as<Function, inline_move_only>(p, why, empty));
  add("boxed task", submit_as<Function, boxed_task>(p, why, empty));
  add("boxed move-only task", submit_as<Function, boxed_move_only>(p, why, empty));
  add("task whose move may throw", submit_as<Function, throwing_move>(p, why, empty));
  return wrong;
}

template <class Function> class Refusal : public testing::Test {};
using functions = testing::Types<try_do, do_wait, do_wait_stopped, try_do_for, try_do_until,
                                 try_do_bulk, try_do_bulk_of_input>;
TYPED_TEST_SUITE(Refusal, functions, );

TYPED_TEST(Refusal, ByAFullPoolLeavesTheTaskUntouched) {
  if (TypeParam::when_full == errc{}) return;
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 1u);
  EXPECT_EQ(submit_each_kind<TypeParam>(p, TypeParam::when_full), "");
  EXPECT_EQ(p.size(), 1u);
}

TYPED_TEST(Refusal, ByAFullPoolOnItsWorkerLeavesTheTaskUntouched) {
  pool p{{.buffer = 1}};
  EXPECT_EQ(support::on_worker(p,
                               [&] {
                                 support::fill(p);
                                 return submit_each_kind<TypeParam>(p,
                                                                    TypeParam::when_full_on_worker);
                               }),
            "");
}

TYPED_TEST(Refusal, ByAClosedPoolLeavesTheTaskUntouched) {
  pool p;
  p.close();
  EXPECT_EQ(submit_each_kind<TypeParam>(p, errc::closed), "");
}

TYPED_TEST(Refusal, OfAnEmptyTaskLeavesItUntouched) {
  pool p;
  EXPECT_EQ(submit_each_kind<TypeParam>(p, errc::empty_task, true), "");
  EXPECT_EQ(p.stats().accepted, 0u);
}

// Precedence: empty_task, closed, then acceptance, then would_deadlock, then canceled, timed_out.

TYPED_TEST(Refusal, EmptyTaskComesBeforeClosed) {
  pool p;
  p.close();
  EXPECT_EQ(TypeParam::submit(p, std::function<void()>()), errc::empty_task);
}

TYPED_TEST(Refusal, EmptyTaskComesBeforeFull) {
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 1u);
  EXPECT_EQ(TypeParam::submit(p, std::function<void()>()), errc::empty_task);
  EXPECT_EQ(p.stats().rejected, 1u);  // fill's
}

TYPED_TEST(Refusal, EmptyTaskComesBeforeWouldDeadlock) {
  pool p{{.buffer = 1}};
  const auto answer = support::on_worker(p, [&] {
    support::fill(p);
    return TypeParam::submit(p, std::function<void()>());
  });
  EXPECT_EQ(answer, errc::empty_task);
}

TYPED_TEST(Refusal, ClosedComesBeforeFull) {
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 1u);
  p.request_stop();
  EXPECT_EQ(TypeParam::submit(p, [] {}), errc::closed);
}

TYPED_TEST(Refusal, ClosedComesBeforeWouldDeadlock) {
  pool p{{.buffer = 1}};
  const auto answer = support::on_worker(p, [&] {
    support::fill(p);
    p.request_stop();
    return TypeParam::submit(p, [] {});
  });
  EXPECT_EQ(answer, errc::closed);
}

// The stopped token and the deadline that has passed are in the functions' own forms above.
TYPED_TEST(Refusal, AcceptanceComesBeforeCanceledAndTimedOut) {
  std::atomic<bool> ran = false;
  pool p{{.buffer = 1}};
  support::occupied busy(p);
  EXPECT_FALSE(TypeParam::submit(p, [&] { ran = true; }));
  busy.release();
  p.close();
  EXPECT_TRUE(ran);
}

TYPED_TEST(Refusal, AcceptanceComesBeforeWouldDeadlock) {
  std::atomic<bool> ran = false;
  pool p{{.buffer = 1}};
  EXPECT_FALSE(support::on_worker(p, [&] { return TypeParam::submit(p, [&] { ran = true; }); }));
  p.close();
  EXPECT_TRUE(ran);
}

TYPED_TEST(Refusal, OnlyFullCountsAsRejected) {
  pool p{{.buffer = 1}};
  {
    support::occupied busy(p);
    ASSERT_FALSE(p.try_do([] {}));
    if (TypeParam::when_full != errc{}) {
      EXPECT_EQ(TypeParam::submit(p, [] {}), TypeParam::when_full);
      EXPECT_EQ(p.stats().rejected, TypeParam::when_full == errc::full ? 1u : 0u);
    }
  }
  const auto before = p.stats().rejected;
  EXPECT_EQ(TypeParam::submit(p, std::function<void()>()), errc::empty_task);
  p.close();
  EXPECT_EQ(TypeParam::submit(p, [] {}), errc::closed);
  EXPECT_EQ(p.stats().rejected, before);
}

}  // namespace
