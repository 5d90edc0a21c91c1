// Policy::timed: how long tasks wait and run, and which one runs longest.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

#include "support.hpp"

namespace {

using fanout::histogram;
using fanout::source_location;
using fanout::timed_policy;
using pool = fanout::basic_pool<timed_policy>;
using group = fanout::basic_group<timed_policy>;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

static_assert(std::derived_from<timed_policy, fanout::default_policy>);
static_assert(timed_policy::timed && !fanout::default_policy::timed);

template <class Stats>
concept tells_time = requires(const Stats& s) { s.wait_time; } || requires(const Stats& s) {
  s.run_time;
} || requires(const Stats& s) { s.longest_running; };
static_assert(!tells_time<decltype(std::declval<fanout::pool&>().stats())>);
static_assert(tells_time<decltype(std::declval<pool&>().stats())>);
static_assert(noexcept(std::declval<pool&>().stats()));
static_assert(std::convertible_to<decltype(std::declval<histogram&>().quantile(0.5)),
                                  std::chrono::nanoseconds>);
static_assert(std::convertible_to<decltype(std::declval<pool&>().stats()), fanout::stats>,
              "the other counters are there as well");

/// Returns once `d` has passed since `start`.
void pass(std::chrono::nanoseconds d, clock::time_point start = clock::now()) {
  while (clock::now() - start < d) std::this_thread::yield();
}

std::uint64_t sum_of_buckets(const histogram& h) {
  std::uint64_t sum = 0;
  for (const std::uint64_t n : h.buckets()) sum += n;
  return sum;
}

/// Keeps one worker of a pool in a task whose place is known.
class held_task {
 public:
  explicit held_task(pool& p, source_location where = source_location::current())
      : place(where), release_(std::make_shared<gate>()) {
    const auto started = std::make_shared<gate>();
    const auto hold = [started, release = release_] {
      started->open();
      release->wait();
    };
    if (p.try_do(hold, where)) std::abort();
    started->wait();
  }
  ~held_task() { end(); }
  held_task(const held_task&) = delete;
  held_task& operator=(const held_task&) = delete;
  void end() { release_->open(); }

  const source_location place;

 private:
  const std::shared_ptr<gate> release_;
};

// --- Histograms

TEST(Histogram, IsEmptyAtFirst) {
  const pool p;
  const auto stats = p.stats();
  EXPECT_EQ(stats.wait_time.count(), 0u);
  EXPECT_EQ(stats.run_time.count(), 0u);
  EXPECT_EQ(stats.run_time.quantile(0.5), 0ns);
  EXPECT_EQ(sum_of_buckets(stats.run_time), 0u);
  EXPECT_FALSE(stats.longest_running);
}

TEST(Timed, CountsEveryTaskThatRan) {
  pool p{{.workers = 2, .on_error = [](const fanout::error_info&) {}}};
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.do_wait([] {}));
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.do_wait([] { throw 1; }));
  const auto task = [] {};
  const decltype(task) tasks[20] = {task, task, task, task, task, task, task, task, task, task,
                                    task, task, task, task, task, task, task, task, task, task};
  EXPECT_EQ(p.try_do_bulk(tasks).accepted, 20u);
  p.submit([] {}).get();
  p.close();
  const auto stats = p.stats();
  EXPECT_EQ(stats.completed + stats.failed, 131u);
  EXPECT_EQ(stats.wait_time.count(), 131u);
  EXPECT_EQ(stats.run_time.count(), 131u);
  EXPECT_EQ(sum_of_buckets(stats.wait_time), 131u);
  EXPECT_EQ(sum_of_buckets(stats.run_time), 131u);
}

TEST(Timed, CountsNoTaskThatWasDiscarded) {
  pool p;
  gate started;
  ASSERT_FALSE(p.try_do([&](const std::stop_token& stop) {
    started.open();
    support::wait_until([&] { return stop.stop_requested() && p.size() == 0; });
  }));
  started.wait();
  EXPECT_EQ(support::fill(p), 1024u);
  EXPECT_EQ(p.close_for(0s), fanout::errc::timed_out);
  EXPECT_EQ(p.stats().run_time.count(), 1u);
}

// The closing thread is still in the callback while the worker drops what waits.
TEST(Timed, CountsNoTaskThatAWorkerDiscarded) {
  pool p;
  gate started;
  gate may_end;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    may_end.wait();
  }));
  started.wait();
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([] {}));
  const std::stop_callback on_stop(p.get_stop_token(), [&] {
    may_end.open();
    support::wait_until([&] { return p.stats().discarded == 3; });
  });
  EXPECT_EQ(p.close_for(0s), fanout::errc::timed_out);
  EXPECT_EQ(p.stats().run_time.count(), 1u);
  EXPECT_EQ(p.stats().wait_time.count(), 1u);
}

TEST(Timed, MeasuresRunsBetweenTheirBounds) {
  const auto before = clock::now();
  pool p;
  ASSERT_FALSE(p.try_do([] { pass(20ms); }));
  p.close();
  const auto all = clock::now() - before;
  const auto longest = p.stats().run_time.quantile(1.0);
  EXPECT_GE(longest, 20ms);
  EXPECT_LE(longest, 2 * all) << "a bucket ends at twice its beginning";
}

TEST(Timed, MeasuresWaitsFromAcceptanceToStart) {
  const auto before = clock::now();
  pool p;
  {
    const held_task holding(p);
    ASSERT_FALSE(p.try_do([] {}));
    pass(50ms);
  }
  p.close();
  const auto all = clock::now() - before;
  const auto stats = p.stats();
  EXPECT_GE(stats.wait_time.quantile(1.0), 50ms);
  EXPECT_LE(stats.wait_time.quantile(1.0), 2 * all);
  EXPECT_LT(stats.run_time.quantile(0.5), 50ms) << "one of two was short";
}

TEST(Timed, QuantilesRiseAndTellTheManyFromTheFew) {
  pool p;
  for (int i = 0; i < 99; ++i) ASSERT_FALSE(p.try_do([] {}));
  ASSERT_FALSE(p.try_do([] { pass(50ms); }));
  p.close();
  const auto run_time = p.stats().run_time;
  auto last = 0ns;
  for (const double q : {0.0, 0.1, 0.5, 0.9, 0.99, 1.0}) {
    EXPECT_GE(run_time.quantile(q), last);
    last = run_time.quantile(q);
  }
  EXPECT_LT(run_time.quantile(0.5), 50ms);
  EXPECT_GE(run_time.quantile(1.0), 50ms);
}

// --- The longest running task

TEST(LongestRunning, ShowsWorkerPlaceAndTimeWhileATaskRuns) {
  const auto before = clock::now();
  pool p;
  held_task holding(p);
  pass(10ms);
  const auto first = p.stats().longest_running;
  ASSERT_TRUE(first);
  EXPECT_EQ(first->worker, 0u);
  EXPECT_EQ(first->where.line(), holding.place.line());
  EXPECT_EQ(std::string_view(first->where.file_name()), holding.place.file_name());
  EXPECT_GE(first->elapsed, 10ms);
  EXPECT_LE(first->elapsed, clock::now() - before);
  pass(1ms);
  const auto second = p.stats().longest_running;
  ASSERT_TRUE(second);
  EXPECT_GE(second->elapsed, first->elapsed + 1ms);

  holding.end();
  p.close();
  EXPECT_FALSE(p.stats().longest_running);
}

TEST(LongestRunning, IsTheOlderOfTwo) {
  pool p{{.workers = 2}};
  std::optional<held_task> older(std::in_place, p);
  pass(1ms);
  held_task younger(p, source_location::current());
  const auto with_both = p.stats().longest_running;
  ASSERT_TRUE(with_both);
  EXPECT_EQ(with_both->where.line(), older->place.line());

  older->end();
  support::wait_until([&] { return p.stats().completed == 1; });
  const auto with_one = p.stats().longest_running;
  ASSERT_TRUE(with_one);
  EXPECT_EQ(with_one->where.line(), younger.place.line());
  EXPECT_NE(with_one->worker, with_both->worker);
}

source_location another_place() { return source_location::current(); }

TEST(LongestRunning, MayBeAskedForWhileTasksComeAndGo) {
  constexpr int tasks = 5'000;
  pool p{{.buffer = tasks}};
  const auto here = source_location::current(), there = another_place();
  {
    const held_task holding(p, here);
    for (int i = 0; i < tasks; ++i) ASSERT_FALSE(p.try_do([] {}, i % 2 == 0 ? there : here));
  }
  bool strange = false;
  for (auto stats = p.stats(); stats.completed <= tasks; stats = p.stats()) {
    if (const auto& longest = stats.longest_running) {
      const auto& shown = longest->where;
      const auto& whole = shown.line() == here.line() ? here : there;
      strange = strange || shown.line() != whole.line() || longest->elapsed < 0ns ||
                std::string_view(shown.function_name()) != whole.function_name();
    }
  }
  EXPECT_FALSE(strange);
}

TEST(LongestRunning, ShowsThePlaceOfEachGroupTask) {
  pool p;
  group g{p};
  const source_location places[] = {source_location::current(), another_place()};
  gate started[2], release[2];
  std::optional<fanout::running_task> shown[2];
  for (int i : {0, 1}) {
    const auto hold = [&, i] {
      started[i].open();
      release[i].wait();
    };
    ASSERT_FALSE(g.run(hold, places[i]));
  }
  for (int i : {0, 1}) {
    started[i].wait();
    shown[i] = p.stats().longest_running;
    release[i].open();
  }
  g.wait();
  for (int i : {0, 1}) {
    ASSERT_TRUE(shown[i]);
    EXPECT_EQ(shown[i]->where.line(), places[i].line());
    EXPECT_EQ(std::string_view(shown[i]->where.file_name()), places[i].file_name());
  }
}

// Who waits for a group runs its tasks too, and is no worker that could be shown.
TEST(LongestRunning, IsOfAWorkerOnly) {
  pool p;
  const occupied busy(p);
  group g{p};
  std::optional<fanout::running_task> shown;
  ASSERT_FALSE(g.run([&] { shown = p.stats().longest_running; }));
  g.wait();
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->worker, 0u);
}

}  // namespace
