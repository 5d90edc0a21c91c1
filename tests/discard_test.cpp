// What is discarded instead of run is counted and told, once, in its context, whoever drops it.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "sanitizers.hpp"
#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

/// What became of the tasks of a test.
struct fates {
  std::atomic<int> ran{0}, told{0};
};

/// Tells its fates that it ran or was discarded, and then does what it was given.
class told_task : public fanout::discardable {
 public:
  explicit told_task(fates& of, std::function<void()> when_told = {})
      : of_(of), when_told_(std::move(when_told)) {}
  void operator()() { ++of_.ran; }
  void discard() noexcept {
    ++of_.told;
    if (when_told_) when_told_();
  }

 private:
  fates& of_;
  std::function<void()> when_told_;  // too large for a slot: boxed
};

/// The same, small enough for a slot.
struct small_told_task : fanout::discardable {
  fates* of;
  explicit small_told_task(fates& f) : of(&f) {}
  void operator()() { ++of->ran; }
  void discard() noexcept { ++of->told; }
};
static_assert(sizeof(small_told_task) <= fanout::default_policy::inline_size);

// --- Ways to be dropped

template <class Drop> void expect_told(Drop drop) {
  fates of;
  pool p{{.buffer = 2}};
  occupied busy(p);
  ASSERT_FALSE(p.try_do(small_told_task(of)));
  ASSERT_FALSE(p.try_do(told_task(of)));
  drop(p, busy);
  EXPECT_EQ(of.told, 2);
  EXPECT_EQ(of.ran, 0);
  EXPECT_EQ(p.stats().discarded, 2u);
  busy.release();
  p.close();
  const auto stats = p.stats();
  EXPECT_EQ(stats.accepted, stats.completed + stats.failed + stats.discarded);
}

TEST(Discard, IsToldByPurge) {
  expect_told([](pool& p, auto&) { EXPECT_EQ(p.purge(), 2u); });
}

TEST(Discard, IsToldByEviction) {
  expect_told([](pool& p, auto&) {
    EXPECT_FALSE(p.do_evict([] {}));
    EXPECT_FALSE(p.do_evict([] {}));
  });
}

TEST(Discard, IsToldByACloseThatIsLate) {
  expect_told([](pool& p, auto& busy) {
    std::jthread later([&] {
      support::wait_until([&] { return p.get_stop_token().stop_requested(); });
      busy.release();
    });
    EXPECT_EQ(p.close_for(0s), errc::timed_out);
  });
}

TEST(Discard, OfAGroupIsToldAndCountedByWhoStopsIt) {
  fates of;
  pool p;
  occupied busy(p);
  {
    fanout::group g{p};
    ASSERT_FALSE(g.try_do(told_task(of)));
    ASSERT_FALSE(g.try_do(small_told_task(of)));
    g.request_stop();
    EXPECT_EQ(g.wait(), errc::canceled);
    EXPECT_EQ(g.skipped(), 2u);
    EXPECT_EQ(of.told, 2);
    EXPECT_EQ(p.stats().discarded, 2u);
  }
  EXPECT_EQ(p.stats().discarded, 2u);
}

TEST(Discard, OfAForgottenGroupIsToldAndCounted) {
  fates of;
  pool p;
  occupied busy(p);
  {
    fanout::group g{p};
    for (int i = 0; i < 30; ++i) ASSERT_FALSE(g.try_do(told_task(of)));
  }
  EXPECT_EQ(of.told, 30);
  EXPECT_EQ(p.stats().accepted, 31u);
  EXPECT_EQ(p.stats().discarded, 30u);
}

TEST(Discard, OfAFutureComesBeforeItsAnswer) {
  fates of;
  pool p;
  occupied busy(p);
  auto answer = p.submit(told_task(of));
  EXPECT_EQ(p.purge(), 1u);
  EXPECT_EQ(of.told, 1);
  try {
    answer.get();
    FAIL() << "a discarded task has a result";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), errc::canceled);
  }
}

TEST(Discard, IsNotToldOfARefusal) {
  fates of;
  pool p{{.buffer = 1}};
  occupied busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  told_task task(of);
  EXPECT_EQ(p.try_do(std::move(task)), errc::full);
  EXPECT_EQ(p.try_do_for(1ms, std::move(task)), errc::timed_out);
  EXPECT_THROW(p.submit(std::move(task)).get(), std::system_error);
  p.request_stop();
  EXPECT_EQ(p.do_evict(std::move(task)), errc::closed);
  EXPECT_EQ(of.told, 0);
}

TEST(Discard, IsNotToldOfWhatRuns) {
  fates of;
  {
    pool p;
    ASSERT_FALSE(p.try_do(told_task(of)));
  }
  EXPECT_EQ(of.ran, 1);
  EXPECT_EQ(of.told, 0);
}

TEST(Discard, IsInOrder) {
  std::vector<int> order;
  fates of;
  pool p;
  occupied busy(p);
  for (int i = 0; i < 5; ++i) {
    ASSERT_FALSE(p.try_do(told_task(of, [&order, i] { order.push_back(i); })));
  }
  EXPECT_EQ(p.purge(), 5u);
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
}

// --- What may be done while one is told

/// What the calls that would wait for the pool answer.
std::vector<std::error_code> waits_of(pool& p) {
  return {p.wait_idle(), p.do_wait([] {}), p.close()};
}
void expect_would_deadlock(const std::vector<std::error_code>& answers) {
  ASSERT_EQ(answers.size(), 3u);
  for (const auto& answer : answers) EXPECT_EQ(answer, errc::would_deadlock);
}

TEST(Discard, CountsTheThreadAsAWorker) {
  fates of;
  std::vector<std::error_code> answers;
  pool p{{.buffer = 1}};
  occupied busy(p);
  ASSERT_FALSE(p.try_do(told_task(of, [&] {
    static_cast<void>(p.try_do([] {}));  // full again
    answers = waits_of(p);
  })));
  EXPECT_EQ(p.purge(), 1u);
  expect_would_deadlock(answers);
}

TEST(Discard, CountsTheThreadAsAWorkerInTheDestructorOfACapture) {
  std::vector<std::error_code> answers;
  pool p{{.buffer = 1}};
  occupied busy(p);
  const auto at_the_end = [&](int*) {
    static_cast<void>(p.try_do([] {}));
    answers = waits_of(p);
  };
  int nothing = 0;
  ASSERT_FALSE(p.try_do([held = std::shared_ptr<int>(&nothing, at_the_end)] {}));
  EXPECT_EQ(p.purge(), 1u);
  expect_would_deadlock(answers);
  EXPECT_EQ(p.wait_idle_for(0s), errc::timed_out);  // no worker any more
}

TEST(Discard, IsWaitedForByWaitIdleAndClose) {
  for (const bool closes : {false, true}) {
    fates of;
    gate telling, go;
    std::atomic<bool> is_over = false;
    pool p;
    std::optional<occupied<pool>> busy(p);
    ASSERT_FALSE(p.try_do(told_task(of, [&] {
      telling.open();
      go.wait();
      is_over = true;
    })));
    std::jthread purger([&] { EXPECT_EQ(p.purge(), 1u); });
    telling.wait();
    busy.reset();
    EXPECT_EQ(p.wait_idle_for(10ms), errc::timed_out);
    std::jthread later([&] { go.open(); });
    EXPECT_FALSE(closes ? p.close() : p.wait_idle());
    EXPECT_TRUE(is_over);
  }
}

// --- Contexts

thread_local constinit int current_trace = 0;

struct trace_context {
  int id;
  bool throws;
  inline static thread_local constinit bool next_throws = false;

  static trace_context capture() noexcept { return {current_trace, next_throws}; }
  auto enter() const {
    if (throws) throw std::runtime_error("no trace backend");
    struct scope {
      int outer;
      explicit scope(int id) : outer(std::exchange(current_trace, id)) {}
      ~scope() { current_trace = outer; }
      scope(const scope&) = delete;
      scope& operator=(const scope&) = delete;
    };
    return scope(id);
  }
};
struct traced : fanout::default_policy {
  using context = trace_context;
};
using traced_pool = fanout::basic_pool<traced>;

/// Contexts captured while it lives cannot be entered.
struct broken_backend {
  broken_backend() { trace_context::next_throws = true; }
  ~broken_backend() { trace_context::next_throws = false; }
  broken_backend(const broken_backend&) = delete;
  broken_backend& operator=(const broken_backend&) = delete;
};

TEST(DiscardInContext, TellsAndDestroysInTheScope) {
  fates of;
  int when_told = 0, when_destroyed = 0;
  traced_pool p;
  occupied busy(p);
  current_trace = 7;
  int nothing = 0;
  ASSERT_FALSE(p.try_do(told_task(of, [&] { when_told = current_trace; })));
  ASSERT_FALSE(p.try_do(
      [held = std::shared_ptr<int>(&nothing, [&](int*) { when_destroyed = current_trace; })] {}));
  current_trace = 0;
  EXPECT_EQ(p.purge(), 2u);
  EXPECT_EQ(when_told, 7);
  EXPECT_EQ(when_destroyed, 7);
  EXPECT_EQ(current_trace, 0);
}

struct detached {
  struct promise_type {
    detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};
template <class Pool> detached resume_on(Pool& p, std::vector<std::error_code>& answers) {
  answers.push_back(co_await p.schedule());
}

TEST(ContextThatCannotBeEntered, FailsItsTaskOnce) {
  fates of;
  int handled = 0;
  traced_pool p{{.on_error = [&](const fanout::error_info& info) {
    ++handled;
    EXPECT_EQ(info.worker, 0u);
  }}};
  std::vector<std::error_code> answers;
  std::future<void> future;
  {
    const broken_backend broken;
    bool ran = false;
    ASSERT_FALSE(p.try_do([&] { ran = true; }));
    ASSERT_FALSE(p.try_do(told_task(of)));
    resume_on(p, answers);
    future = p.submit(told_task(of));
    p.wait_idle();
    EXPECT_FALSE(ran);
  }
  EXPECT_EQ(handled, 3);
  EXPECT_EQ(of.ran, 0);
  EXPECT_EQ(of.told, 2);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0], errc::canceled);
  EXPECT_THROW(future.get(), std::runtime_error);
  EXPECT_EQ(p.stats().failed, 4u);
  EXPECT_EQ(p.stats().discarded, 0u);
}

TEST(ContextThatCannotBeEntered, LeavesADiscardedTaskDiscardedAndTold) {
  fates of;
  int handled = 0;
  traced_pool p{{.on_error = [&](const fanout::error_info&) { ++handled; }}};
  std::vector<std::error_code> answers;
  occupied busy(p);
  {
    const broken_backend broken;
    ASSERT_FALSE(p.try_do(told_task(of)));
    resume_on(p, answers);
  }
  testing::internal::CaptureStderr();
  EXPECT_EQ(p.purge(), 2u);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(of.told, 1);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0], errc::canceled);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(p.stats().discarded, 2u);
  EXPECT_NE(said.find("enter threw: no trace backend"), std::string::npos) << said;
}

TEST(ContextAndADestructorThatThrows, ReportOnce) {
  if (support::has_address_sanitizer) GTEST_SKIP() << "the runtime loses the exception object";
  struct throws_at_its_end {
    bool armed = true;
    throws_at_its_end() = default;
    throws_at_its_end(const throws_at_its_end& other)
        : armed(std::exchange(other_of(other), false)) {}
    ~throws_at_its_end() noexcept(false) {
      if (armed) throw 1;
    }
    static bool& other_of(const throws_at_its_end& o) {
      return const_cast<throws_at_its_end&>(o).armed;
    }
  };
  int handled = 0;
  traced_pool p{{.on_error = [&](const fanout::error_info&) { ++handled; }}};
  testing::internal::CaptureStderr();
  ASSERT_FALSE(p.try_do([] { throw throws_at_its_end(); }));
  p.wait_idle();
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(p.stats().failed, 1u);
}

TEST(Schedule, AwaitedAgainAfterARefusalAnswersAnew) {
  std::vector<std::error_code> answers;
  pool p{{.buffer = 1}};
  std::optional<occupied<pool>> busy(p);
  ASSERT_FALSE(p.try_do([] {}));
  const auto twice = [](pool& on, std::optional<occupied<pool>>& held,
                        std::vector<std::error_code>& to) -> detached {
    auto awaiter = on.schedule();
    to.push_back(co_await awaiter);
    held.reset();
    on.wait_idle();
    to.push_back(co_await awaiter);
  };
  twice(p, busy, answers);
  p.close();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0], errc::full);
  EXPECT_FALSE(answers[1]);
}

}  // namespace
