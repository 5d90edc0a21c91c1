// The first failure of a group is kept and stops the rest; the others are reported; nothing is lost.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <latch>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::group;
using fanout::pool;
using support::gate;
using support::occupied;

template <class F> void add(group& to, F&& f) {
  if (to.run(std::forward<F>(f))) std::abort();
}

/// What g.wait() throws, in words; "nothing" if it returns.
std::string thrown_by_wait(group& g) {
  try {
    g.wait();
  } catch (const std::exception& e) {
    return e.what();
  } catch (int number) {
    return std::to_string(number);
  }
  return "nothing";
}

/// What on_error was told.
class reports {
 public:
  struct report {
    std::string reason, pool;
    std::size_t worker;
    std::uint_least32_t line;
    bool in_catch_block;
  };
  auto handler() {
    return [this](const fanout::error_info& info) {
      std::string reason;
      try {
        std::rethrow_exception(info.error);
      } catch (const std::exception& e) {
        reason = e.what();
      }
      const std::lock_guard hold(mutex_);
      all_.push_back({reason, std::string(info.pool), info.worker, info.where.line(),
                      std::current_exception() != nullptr});
    };
  }
  std::vector<report> all() const {
    const std::lock_guard hold(mutex_);
    return all_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<report> all_;
};

[[noreturn]] void fail(const char* reason) { throw std::runtime_error(reason); }

// --- The first failure

TEST(GroupFailure, IsRethrownByWaitOnce) {
  reports reported;
  {
    pool p{{.on_error = reported.handler()}};
    group g{p};
    add(g, [] { fail("first"); });
    EXPECT_EQ(thrown_by_wait(g), "first");
    EXPECT_EQ(thrown_by_wait(g), "nothing");
  }
  EXPECT_TRUE(reported.all().empty()) << "somebody waited for it";
}

TEST(GroupFailure, IsRethrownByWaitFor) {
  pool p;
  group g{p};
  add(g, [] { fail("first"); });
  EXPECT_THROW(static_cast<void>(g.wait_for(std::chrono::hours::max())), std::runtime_error);
  EXPECT_FALSE(g.wait_for(std::chrono::hours::max()));
}

TEST(GroupFailure, IsWhateverWasThrown) {
  pool p;
  group g{p};
  add(g, [] { throw 42; });
  EXPECT_EQ(thrown_by_wait(g), "42");
}

TEST(GroupFailure, OfATaskThatRunsOnTheCallerIsKeptForWait) {
  pool p;
  const occupied busy(p);
  group g{p};
  bool threw = false;
  std::error_code last;
  try {
    while (!last) last = g.run([] { fail("on the caller"); });
  } catch (...) {
    threw = true;
  }
  EXPECT_FALSE(threw);
  EXPECT_EQ(last, errc::canceled);
  EXPECT_EQ(thrown_by_wait(g), "on the caller");
}

TEST(GroupFailure, IsCountedAndNotReportedWhereWaitTellsIt) {
  int reported = 0;
  pool p{{.on_error = [&](const fanout::error_info&) { ++reported; }}};
  {
    group g{p};
    add(g, [] { fail("mine"); });
    EXPECT_EQ(thrown_by_wait(g), "mine");
  }
  p.close();
  EXPECT_EQ(p.stats().failed, 1u);
  EXPECT_EQ(p.stats().completed, 0u);
  EXPECT_EQ(reported, 0);
}

TEST(GroupFailure, IsSeenByOneOfTwoWaiters) {
  pool p{{.workers = 2}};
  for (int round = 0; round < 100; ++round) {
    group g{p};
    add(g, [] { fail("once"); });
    std::string there;
    std::thread other([&] { there = thrown_by_wait(g); });
    const std::string here = thrown_by_wait(g);
    other.join();
    ASSERT_NE(here, there);
  }
}

// --- It stops the rest

TEST(GroupFailure, SkipsAndCountsWhatHasNotStarted) {
  pool p;
  const occupied busy(p);
  group g{p};
  const auto capture = std::make_shared<int>(0);
  add(g, [] { fail("first"); });
  for (int i = 0; i < 5; ++i) add(g, [capture] { ++*capture; });
  EXPECT_EQ(g.skipped(), 0u);
  EXPECT_EQ(thrown_by_wait(g), "first");
  EXPECT_EQ(g.skipped(), 5u);
  EXPECT_EQ(*capture, 0);
  EXPECT_EQ(capture.use_count(), 1) << "a skipped task is destroyed before wait returns";
}

TEST(GroupFailure, StopsTheTasksThatRun) {
  pool p;
  group g{p};
  gate started;
  bool stopped = false;
  add(g, [&](const std::stop_token& stop) {
    started.open();
    support::wait_until([&] { return stop.stop_requested(); });
    stopped = true;
  });
  started.wait();
  EXPECT_FALSE(g.get_stop_token().stop_requested());
  add(g, [] { fail("first"); });  // the one worker is busy: wait runs this
  EXPECT_EQ(thrown_by_wait(g), "first");
  EXPECT_TRUE(stopped);
  EXPECT_TRUE(g.get_stop_token().stop_requested());
  EXPECT_FALSE(p.get_stop_token().stop_requested());
}

TEST(GroupFailure, CancelsLaterSubmissions) {
  pool p;
  group g{p};
  add(g, [] { fail("first"); });
  EXPECT_EQ(thrown_by_wait(g), "first");
  auto task = [proof = std::make_unique<int>(7)] { fail("never"); };
  EXPECT_EQ(g.try_do(std::move(task)), errc::canceled);
  EXPECT_EQ(g.run(std::move(task)), errc::canceled);
  auto untouched = std::move(task);
  EXPECT_THROW(untouched(), std::runtime_error);
  EXPECT_EQ(thrown_by_wait(g), "nothing");
  EXPECT_EQ(g.skipped(), 0u) << "what was refused was not skipped";
}

TEST(GroupFailure, LeavesOtherGroupsAlone) {
  pool p;
  group failing{p}, other{p};
  add(failing, [] { fail("first"); });
  EXPECT_EQ(thrown_by_wait(failing), "first");
  int ran = 0;
  add(other, [&] { ++ran; });
  EXPECT_EQ(thrown_by_wait(other), "nothing");
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(other.get_stop_token().stop_requested());
}

// --- Failures that no wait can tell

TEST(GroupFailure, FurtherOnesGoToOnError) {
  reports reported;
  std::uint_least32_t line = 0;
  {
    pool p{{.name = "side", .on_error = reported.handler()}};
    group g{p};
    gate started;
    const std::stop_token stop = g.get_stop_token();
    const auto second = [&] {
      started.open();
      support::wait_until([&] { return stop.stop_requested(); });
      fail("second");
    };
    line = static_cast<std::uint_least32_t>(__LINE__) + 1;
    if (g.run(second)) std::abort();
    started.wait();
    add(g, [] { fail("first"); });
    EXPECT_EQ(thrown_by_wait(g), "first");
  }
  const auto all = reported.all();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].reason, "second");
  EXPECT_EQ(all[0].pool, "side");
  EXPECT_EQ(all[0].worker, 0u);
  EXPECT_EQ(all[0].line, line);
  EXPECT_TRUE(all[0].in_catch_block);
}

TEST(GroupFailure, HandlerOfAFurtherOneMayUseTheGroup) {
  const group* used = nullptr;
  bool stopped = false;
  pool p{{.workers = 2, .on_error = [&](const fanout::error_info&) {
            stopped = used->get_stop_token().stop_requested();
          }}};
  group g{p};
  used = &g;
  std::latch both(2);
  for (int i = 0; i < 2; ++i) {
    add(g, [&] {
      both.arrive_and_wait();
      throw std::runtime_error("one of two");
    });
  }
  EXPECT_EQ(thrown_by_wait(g), "one of two");
  EXPECT_TRUE(stopped);
}

TEST(GroupFailure, UnseenGoesToOnError) {
  reports reported;
  std::uint_least32_t line = 0;
  {
    pool p{{.name = "side", .workers = 1, .on_error = reported.handler()}};
    group g{p};
    line = static_cast<std::uint_least32_t>(__LINE__) + 1;
    if (g.run([] { fail("unseen"); })) std::abort();
    support::wait_until([&] { return g.get_stop_token().stop_requested(); });
    EXPECT_TRUE(reported.all().empty()) << "somebody may still wait for it";
  }
  const auto all = reported.all();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].reason, "unseen");
  EXPECT_EQ(all[0].pool, "side");
  EXPECT_EQ(all[0].worker, 0u);
  EXPECT_EQ(all[0].line, line);
  EXPECT_TRUE(all[0].in_catch_block);
}

// --- Stopping without a failure

TEST(GroupStop, SkipsCancelsAndDoesNotThrow) {
  pool p;
  const occupied busy(p);
  group g{p};
  int ran = 0;
  for (int i = 0; i < 4; ++i) add(g, [&] { ++ran; });
  g.request_stop();
  EXPECT_TRUE(g.get_stop_token().stop_requested());
  EXPECT_EQ(g.try_do([] {}), errc::canceled);
  EXPECT_EQ(g.run([] {}), errc::canceled);
  EXPECT_EQ(thrown_by_wait(g), "nothing");
  EXPECT_EQ(g.skipped(), 4u);
  EXPECT_EQ(ran, 0);
}

TEST(GroupStop, OfThePoolReachesTheTasksOfTheGroup) {
  pool p;
  group g{p};
  gate started;
  bool stopped = false;
  add(g, [&](const std::stop_token& stop) {
    started.open();
    support::wait_until([&] { return stop.stop_requested(); });
    stopped = true;
  });
  started.wait();
  p.request_stop();
  EXPECT_EQ(thrown_by_wait(g), "nothing");
  EXPECT_TRUE(stopped);

  group later{p};
  EXPECT_TRUE(later.get_stop_token().stop_requested());
}

TEST(GroupStop, IsRequestedByTheDestructorWhichWaits) {
  pool p;
  gate started;
  bool ended = false, unstarted_ran = false;
  const auto capture = std::make_shared<int>(0);
  {
    group g{p};
    add(g, [&](const std::stop_token& stop) {
      started.open();
      support::wait_until([&] { return stop.stop_requested(); });
      ended = true;
    });
    started.wait();
    add(g, [&, capture] { unstarted_ran = true; });
  }
  EXPECT_TRUE(ended);
  EXPECT_FALSE(unstarted_ran);
  EXPECT_EQ(capture.use_count(), 1);
}

TEST(GroupStop, OfAPoolThatDiscardsSkipsAndCounts) {
  pool p;
  group g{p};
  gate started;
  ASSERT_FALSE(p.try_do([&](const std::stop_token& stop) {
    started.open();
    support::wait_until([&] { return stop.stop_requested() && p.size() == 0; });
  }));
  started.wait();
  int ran = 0;
  for (int i = 0; i < 5; ++i) add(g, [&] { ++ran; });
  EXPECT_EQ(p.close_for(std::chrono::seconds(0)), errc::timed_out);
  EXPECT_EQ(thrown_by_wait(g), "nothing");
  EXPECT_EQ(g.skipped(), 5u);
  EXPECT_EQ(ran, 0);
}

}  // namespace
