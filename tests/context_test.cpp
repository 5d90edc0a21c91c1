// Policy::context: what the submitter has set goes with the task, whoever runs it.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::default_policy;
using fanout::errc;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

/// The trace that the calling thread works for; 0: none.
thread_local constinit int current_trace = 0;

/// Sets current_trace while it lives.
class with_trace {
 public:
  explicit with_trace(int id) : outer_(std::exchange(current_trace, id)) {}
  ~with_trace() { current_trace = outer_; }
  with_trace(const with_trace&) = delete;
  with_trace& operator=(const with_trace&) = delete;

 private:
  const int outer_;
};

struct trace_context {
  int id;
  static trace_context capture() noexcept { return {current_trace}; }
  auto enter() const { return with_trace(id); }
};

struct traced : default_policy {
  using context = trace_context;
};
using pool = fanout::basic_pool<traced>;
using group = fanout::basic_group<traced>;

// What is not there takes no room, and what is there takes its own.
struct untraced : default_policy {
  using context = void;
};
static_assert(sizeof(fanout::detail::slot<untraced>) ==
              sizeof(fanout::detail::slot<default_policy>));
static_assert(sizeof(fanout::source_location) != sizeof(void*) ||
              sizeof(fanout::detail::slot<default_policy>) == 64);
static_assert(sizeof(fanout::detail::slot<default_policy>) != 64 || sizeof(void*) != 8 ||
              sizeof(fanout::detail::slot<traced>) > 64);

/// Notes the trace of its run, and the trace of its destruction.
template <std::size_t Ballast> struct witness {
  struct notes {
    int run = -1, destroyed = -1;
    bool operator==(const notes&) const = default;
  };
  notes* to;
  std::array<std::byte, Ballast> ballast{};

  explicit witness(notes& n) : to(&n) {}
  witness(witness&& from) noexcept : to(std::exchange(from.to, nullptr)) {}
  ~witness() {
    if (to != nullptr) to->destroyed = current_trace;
  }
  void operator()() const { to->run = current_trace; }
};
using small = witness<1>;
using large = witness<500>;  // boxed

// --- Every way in

/// Submits a Task under trace 7 by `submit`, and waits until it has run and is gone.
template <class Task, class Submit> typename Task::notes notes_of(Submit submit) {
  typename Task::notes notes;
  int before = -1, after = -1;
  {
    pool p{{.on_worker_start = [&](std::size_t) { before = current_trace; },
            .on_worker_stop = [&](std::size_t) { after = current_trace; }}};
    const with_trace seven(7);
    submit(p, Task(notes));
    p.close();
  }
  EXPECT_EQ(before, 0);
  EXPECT_EQ(after, 0) << "the scope ends with the task";
  return notes;
}

template <class Submit> void expect_to_carry(Submit submit) {
  EXPECT_EQ(notes_of<small>(submit), (small::notes{7, 7}));
  EXPECT_EQ(notes_of<large>(submit), (large::notes{7, 7}));
}

TEST(Context, FollowsTryDo) {
  expect_to_carry([](pool& p, auto task) { EXPECT_FALSE(p.try_do(std::move(task))); });
}

TEST(Context, FollowsTheBlockingSubmissions) {
  expect_to_carry([](pool& p, auto task) { EXPECT_FALSE(p.do_wait(std::move(task))); });
  expect_to_carry(
      [](pool& p, auto task) { EXPECT_FALSE(p.do_wait(std::move(task), std::stop_token())); });
  expect_to_carry([](pool& p, auto task) { EXPECT_FALSE(p.try_do_for(1h, std::move(task))); });
  expect_to_carry([](pool& p, auto task) {
    const auto deadline = std::chrono::steady_clock::now() + 1h;
    EXPECT_FALSE(p.try_do_until(deadline, std::move(task)));
  });
}

TEST(Context, FollowsBulks) {
  expect_to_carry([](pool& p, auto task) {
    EXPECT_EQ(p.try_do_bulk(support::forward_rvalues(&task, 1)).accepted, 1u);
  });
}

TEST(Context, FollowsSubmit) {
  expect_to_carry([](pool& p, auto task) { p.submit(std::move(task)).get(); });
}

TEST(Context, FollowsGroupTasksToWorkers) {
  expect_to_carry([](pool& p, auto task) {
    group g{p};
    EXPECT_FALSE(g.try_do(std::move(task)));
    p.close();  // the ticket runs it
    g.wait();
  });
}

TEST(Context, FollowsGroupTasksToTheWaiter) {
  expect_to_carry([](pool& p, auto task) {
    const occupied busy(p);
    group g{p};
    EXPECT_FALSE(g.run(std::move(task)));
    const with_trace eight(8);
    g.wait();
    EXPECT_EQ(current_trace, 8) << "the waiter has its own back";
  });
}

struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

detached hop(pool& to, small task) {
  EXPECT_FALSE(co_await to.schedule());
  task();
}

TEST(Context, FollowsCoroutines) {
  EXPECT_EQ(notes_of<small>([](pool& p, small task) { hop(p, std::move(task)); }),
            (small::notes{7, 7}));
}

TEST(Context, IsTheSubmittersOfEachTask) {
  pool p{{.workers = 2}};
  std::vector<int> seen(500);
  for (int i = 0; i < 500; ++i) {
    const with_trace mine(i);
    ASSERT_FALSE(p.try_do([&, i] { seen[static_cast<std::size_t>(i)] = current_trace; }));
  }
  p.close();
  for (int i = 0; i < 500; ++i) ASSERT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST(Context, FollowsFromHopToHop) {
  pool first, second;
  const with_trace seven(7);
  std::promise<int> seen;
  ASSERT_FALSE(first.try_do([&] {
    if (second.try_do([&] { seen.set_value(current_trace); })) std::abort();
  }));
  EXPECT_EQ(seen.get_future().get(), 7);
}

// --- Capturing

/// Notes who captures, and how full the pool is then.
struct looking_context {
  inline static std::function<std::size_t()> size;
  inline static std::vector<std::size_t> sizes;
  inline static std::thread::id thread;
  static looking_context capture() noexcept {
    thread = std::this_thread::get_id();
    sizes.push_back(size());
    return {};
  }
  int enter() const noexcept { return 0; }
};
struct looking : default_policy {
  using context = looking_context;
};

TEST(Context, IsCapturedOnTheSubmitterBeforeTheTaskIsAccepted) {
  fanout::basic_pool<looking> p;
  looking_context::size = [] { return std::size_t{0}; };
  const occupied busy(p);
  looking_context::size = [&] { return p.size(); };
  looking_context::sizes.clear();
  const auto task = [] {};
  ASSERT_FALSE(p.try_do(task));
  ASSERT_FALSE(p.do_wait(task));
  EXPECT_EQ(p.try_do_bulk(std::vector(2, task)).accepted, 2u);
  const auto future = p.submit(task);
  EXPECT_EQ(looking_context::sizes, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(looking_context::thread, std::this_thread::get_id());
}

/// A context that counts itself.
struct counted_context {
  inline static std::atomic<int> alive{0};
  counted_context() noexcept { ++alive; }
  counted_context(counted_context&&) noexcept { ++alive; }
  ~counted_context() { --alive; }
  static counted_context capture() noexcept { return {}; }
  int enter() const noexcept { return 0; }
};
struct counted : default_policy {
  using context = counted_context;
};

TEST(Context, IsDestroyedWithRefusedRunAndDiscardedTasks) {
  {
    fanout::basic_pool<counted> p{{.buffer = 8}};
    gate started;
    ASSERT_FALSE(p.try_do([&](const std::stop_token& stop) {
      started.open();
      support::wait_until([&] { return stop.stop_requested(); });
    }));
    started.wait();
    {
      fanout::basic_group<counted> g{p};
      for (int i = 0; i < 100; ++i) ASSERT_FALSE(g.run([] {}));
      g.wait();
    }
    support::fill(p);
    EXPECT_EQ(p.size(), 8u);
    EXPECT_EQ(counted_context::alive, 8 + 1);
    EXPECT_THROW(p.submit([] {}).get(), std::system_error);
    EXPECT_EQ(p.close_for(0s), errc::timed_out);
  }
  EXPECT_EQ(counted_context::alive, 0);
}

// --- Failures

TEST(Context, IsThereWhenAFailureIsReported) {
  int seen = 0;
  pool p{{.on_error = [&](const fanout::error_info&) { seen = current_trace; }}};
  {
    const with_trace seven(7);
    ASSERT_FALSE(p.try_do([] { throw 1; }));
  }
  p.close();
  EXPECT_EQ(seen, 7);
}

TEST(Context, IsThereWhenAFurtherFailureOfAGroupIsReported) {
  int seen = 0;
  pool p{{.on_error = [&](const fanout::error_info&) { seen = current_trace; }}};
  group g{p};
  gate started;
  const std::stop_token stop = g.get_stop_token();
  {
    const with_trace seven(7);
    ASSERT_FALSE(g.run([&] {
      started.open();
      support::wait_until([&] { return stop.stop_requested(); });
      throw 2;
    }));
  }
  started.wait();
  ASSERT_FALSE(g.run([] { throw 1; }));
  EXPECT_THROW(g.wait(), int);
  EXPECT_EQ(seen, 7);
}

/// Cannot be entered under trace 13.
struct refusing_context : trace_context {
  static refusing_context capture() noexcept { return {{current_trace}}; }
  auto enter() const {
    if (id == 13) throw std::runtime_error("unlucky");
    return with_trace(id);
  }
};
struct refusing : default_policy {
  using context = refusing_context;
};

TEST(Context, ThatCannotBeEnteredIsAFailureOfTheTask) {
  std::string reason;
  bool ran = false;
  const auto capture = std::make_shared<int>(0);
  fanout::basic_pool<refusing> p{{.on_error = [&](const fanout::error_info& info) {
    try {
      std::rethrow_exception(info.error);
    } catch (const std::exception& e) {
      reason = e.what();
    }
  }}};
  {
    const with_trace thirteen(13);
    ASSERT_FALSE(p.try_do([&ran, capture] { ran = true; }));
  }
  p.close();
  EXPECT_FALSE(ran);
  EXPECT_EQ(reason, "unlucky");
  EXPECT_EQ(p.stats().failed, 1u);
  EXPECT_EQ(capture.use_count(), 1);
}

TEST(Context, ThatCannotBeEnteredIsAFailureOfTheGroup) {
  int reported = 0;
  fanout::basic_pool<refusing> p{{.on_error = [&](const fanout::error_info&) { ++reported; }}};
  fanout::basic_group<refusing> g{p};
  bool ran = false;
  {
    const with_trace thirteen(13);
    ASSERT_FALSE(g.run([&] { ran = true; }));
  }
  EXPECT_THROW(g.wait(), std::runtime_error);
  p.close();
  EXPECT_FALSE(ran);
  EXPECT_EQ(reported, 0) << "who waits is told";
  EXPECT_EQ(p.stats().failed, 1u);
}

// --- Before get() returns

/// Knows, when a scope or a task ends, whether the future was ready before.
struct ending {
  std::shared_future<void> future;
  bool ended = false, too_late = false;
  void note() {
    ended = true;
    too_late = future.wait_for(0s) == std::future_status::ready;
  }
};

struct ending_context {
  inline static ending* scopes = nullptr;
  struct scope {
    ending* to;
    ~scope() {
      if (to != nullptr) to->note();
    }
  };
  ending* to;
  static ending_context capture() noexcept { return {scopes}; }
  scope enter() const noexcept { return {to}; }
};
struct ending_policy : default_policy {
  using context = ending_context;
};

TEST(Context, ScopeEndsBeforeTheFutureIsReady) {
  fanout::basic_pool<ending_policy> p;
  occupied busy(p);
  ending scope;
  ending_context::scopes = &scope;
  scope.future = p.submit([] {}).share();
  ending_context::scopes = nullptr;
  busy.release();
  scope.future.wait();
  EXPECT_TRUE(scope.ended);
  EXPECT_FALSE(scope.too_late);
}

struct ending_task {
  ending* to;
  explicit ending_task(ending& e) : to(&e) {}
  ending_task(ending_task&& from) noexcept : to(std::exchange(from.to, nullptr)) {}
  ~ending_task() {
    if (to != nullptr) to->note();
  }
  void operator()() const {}
};

TEST(Context, ThatCannotBeEnteredFailsTheFutureAfterTheTaskIsDestroyed) {
  fanout::basic_pool<refusing> p;
  occupied busy(p);
  ending task;
  {
    const with_trace thirteen(13);
    task.future = p.submit(ending_task(task)).share();
  }
  busy.release();
  EXPECT_THROW(task.future.get(), std::runtime_error);
  p.close();
  EXPECT_TRUE(task.ended);
  EXPECT_FALSE(task.too_late);
}

}  // namespace
