// co_await schedule(): a coroutine goes on as a task, or at once on its caller with the reason.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

/// Begins at once and frees its frame where it ends.
struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

/// Where a coroutine went on, and with which answer.
struct arrival {
  std::error_code code = make_error_code(errc::empty_task);
  std::thread::id thread;
};

detached hop(pool& to, arrival& at, std::shared_ptr<int> local = nullptr) {
  at.code = co_await to.schedule();
  at.thread = std::this_thread::get_id();
  if (local) ++*local;
}

TEST(Schedule, GoesOnOnAWorker) {
  pool p;
  const auto worker = support::on_worker(p, [] { return std::this_thread::get_id(); });
  arrival at;
  hop(p, at);
  p.close();
  EXPECT_FALSE(at.code);
  EXPECT_EQ(at.code.category(), fanout::category());
  EXPECT_EQ(at.thread, worker);
  EXPECT_EQ(p.stats().completed, 2u);
}

TEST(Schedule, WaitsItsTurnAmongTheTasks) {
  pool p{{.buffer = 1}};
  occupied busy(p);
  arrival at;
  hop(p, at);
  EXPECT_EQ(at.thread, std::thread::id());
  EXPECT_EQ(p.size(), 1u);
  busy.release();
  p.wait_idle();
  EXPECT_NE(at.thread, std::thread::id());
}

TEST(Schedule, RefusedByAFullPoolGoesOnAtOnceOnTheCaller) {
  pool p{{.buffer = 1}};
  const occupied busy(p);
  support::fill(p);
  const auto rejected = p.stats().rejected;
  arrival at;
  hop(p, at);
  EXPECT_EQ(at.code, fanout::ErrFull);
  EXPECT_EQ(at.thread, std::this_thread::get_id());
  EXPECT_EQ(p.stats().rejected, rejected + 1);
}

TEST(Schedule, RefusedByAClosedPoolGoesOnAtOnceOnTheCaller) {
  pool p;
  p.close();
  arrival at;
  hop(p, at);
  EXPECT_EQ(at.code, fanout::ErrClosed);
  EXPECT_EQ(at.thread, std::this_thread::get_id());
}

TEST(Schedule, DiscardedResumesWithCanceled) {
  pool p;
  gate started;
  ASSERT_FALSE(p.try_do([&](const std::stop_token& stop) {
    started.open();
    support::wait_until([&] { return stop.stop_requested() && p.size() == 0; });
  }));
  started.wait();
  arrival first, second;
  const auto local = std::make_shared<int>(0);
  hop(p, first, local);
  hop(p, second, local);
  EXPECT_EQ(p.close_for(0s), errc::timed_out);
  EXPECT_EQ(first.code, errc::canceled);
  EXPECT_EQ(second.code, errc::canceled);
  EXPECT_EQ(*local, 2);
  EXPECT_EQ(local.use_count(), 1) << "the frames are freed";
  EXPECT_EQ(p.stats().discarded, 2u);
}

// --- Lifetimes

TEST(Schedule, FreesTheFrameOnTheWorker) {
  const auto local = std::make_shared<int>(0);
  std::vector<arrival> at(1000);
  {
    pool p;  // one worker: the coroutines count one after another
    for (auto& each : at) hop(p, each, local);
  }
  EXPECT_EQ(local.use_count(), 1);
  EXPECT_EQ(*local, 1000);
}

detached hop_between(pool& a, pool& b, int hops, std::shared_ptr<int> local, std::error_code& why) {
  for (int i = 0; i < hops && !why; ++i) {
    why = co_await (i % 2 == 0 ? a : b).schedule();
    ++*local;  // plain: each hop orders what came before it
  }
}

TEST(Schedule, CarriesACoroutineFromPoolToPool) {
  const auto local = std::make_shared<int>(0);
  std::error_code why = make_error_code(fanout::errc{});
  {
    pool a{{.workers = 2}}, b{{.workers = 2}};
    hop_between(a, b, 1000, local, why);
    support::wait_until([&] { return local.use_count() == 1; });
  }
  EXPECT_FALSE(why);
  EXPECT_EQ(*local, 1000);
}

/// Leaves the coroutine that awaits it to others.
struct leave_to {
  std::coroutine_handle<>& owner;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const noexcept { owner = self; }
  void await_resume() const noexcept {}
};

detached hop_and_stay(pool& to, std::shared_ptr<int> local, std::coroutine_handle<>& owner) {
  const std::error_code why = co_await to.schedule();
  if (!why) ++*local;
  co_await leave_to{owner};
  *local = -1;
}

TEST(Schedule, AllowsTheCoroutineToBeDestroyedAfterItsResumption) {
  const auto local = std::make_shared<int>(0);
  {
    std::array<std::coroutine_handle<>, 100> left{};
    pool p;
    for (auto& each : left) {
      hop_and_stay(p, local, each);
      ASSERT_FALSE(p.try_do([&each] { each.destroy(); }));
    }
    p.close();
  }
  EXPECT_EQ(*local, 100);
  EXPECT_EQ(local.use_count(), 1);
}

// --- Awaiting

/// Passes an awaiter on, and cannot be copied.
template <class Awaiter> struct move_only {
  Awaiter inner;
  explicit move_only(Awaiter&& from) : inner(std::move(from)) {}
  move_only(move_only&&) = default;
  bool await_ready() { return inner.await_ready(); }
  auto await_suspend(std::coroutine_handle<> self) { return inner.await_suspend(self); }
  auto await_resume() { return inner.await_resume(); }
};

/// As detached; what its coroutines await is moved into a wrapper first.
struct wrapping {
  struct promise_type : detached::promise_type {
    wrapping get_return_object() noexcept { return {}; }
    template <class Awaiter> move_only<Awaiter> await_transform(Awaiter&& awaiter) {
      return move_only<Awaiter>(std::move(awaiter));
    }
  };
};

wrapping hop_wrapped(pool& to, arrival& at) {
  auto awaiter = to.schedule();
  at.code = co_await std::move(awaiter);
  at.thread = std::this_thread::get_id();
}

TEST(Schedule, WorksThroughMoveOnlyAwaiters) {
  pool p;
  arrival at;
  hop_wrapped(p, at);
  p.close();
  EXPECT_FALSE(at.code);
  EXPECT_NE(at.thread, std::this_thread::get_id());
  hop_wrapped(p, at);
  EXPECT_EQ(at.code, errc::closed);
}

/// Lets exceptions out of resume(); its frame is the caller's.
struct owned {
  struct promise_type {
    owned get_return_object() noexcept {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { throw; }
  };
  std::coroutine_handle<promise_type> handle;
};

owned fail_after_hop(pool& to, std::uint_least32_t& line) {
  line = static_cast<std::uint_least32_t>(__LINE__) + 1;
  static_cast<void>(co_await to.schedule());
  throw std::runtime_error("escaped");
}

TEST(Schedule, ReportsWhatEscapesTheCoroutineWithThePlaceOfTheAwait) {
  std::string reason;
  std::uint_least32_t line = 0, reported_line = 0;
  pool p{{.on_error = [&](const fanout::error_info& info) {
    reported_line = info.where.line();
    try {
      std::rethrow_exception(info.error);
    } catch (const std::exception& e) {
      reason = e.what();
    }
  }}};
  const owned coroutine = fail_after_hop(p, line);
  p.close();
  coroutine.handle.destroy();
  EXPECT_EQ(reason, "escaped");
  EXPECT_EQ(reported_line, line);
  EXPECT_EQ(p.stats().failed, 1u);
}

}  // namespace
