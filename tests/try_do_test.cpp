// try_do: takes the task or refuses it, and never blocks.

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::ErrClosed;
using fanout::ErrFull;
using fanout::pool;

TEST(TryDo, AcceptedTaskRunsOnce) {
  std::atomic<int> runs{0};
  pool p;
  EXPECT_FALSE(p.try_do([&] { ++runs; }));
  p.close();
  EXPECT_EQ(runs, 1);
}

TEST(TryDo, TaskRunsOnAnotherThread) {
  std::thread::id where;
  pool p;
  ASSERT_FALSE(p.try_do([&] { where = std::this_thread::get_id(); }));
  p.close();
  EXPECT_NE(where, std::thread::id());
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(TryDo, SuccessEqualsNoErrc) {
  pool p;
  const std::error_code success = p.try_do([] {});
  EXPECT_FALSE(success);
  for (const errc e : {errc::full, errc::closed, errc::timed_out, errc::canceled,
                       errc::would_deadlock, errc::empty_task}) {
    EXPECT_NE(success, e);
  }
}

TEST(TryDo, FullPoolAnswersErrFull) {
  pool p{{.buffer = 2}};
  support::occupied busy(p);
  ASSERT_EQ(support::fill(p), 2u);
  const std::error_code err = p.try_do([] {});
  EXPECT_TRUE(err);
  EXPECT_EQ(err, ErrFull);
  EXPECT_NE(err, ErrClosed);
  EXPECT_EQ(err, std::errc::resource_unavailable_try_again);
}

TEST(TryDo, RefusedTaskNeverRuns) {
  std::atomic<int> runs{0};
  pool p{{.buffer = 1}};
  {
    support::occupied busy(p);
    ASSERT_EQ(support::fill(p), 1u);
    EXPECT_EQ(p.try_do([&] { ++runs; }), ErrFull);
  }
  p.close();
  EXPECT_EQ(p.try_do([&] { ++runs; }), ErrClosed);
  EXPECT_EQ(runs, 0);
}

TEST(TryDo, PoolThatWasFullAcceptsAgain) {
  pool p{{.buffer = 1}};
  {
    support::occupied busy(p);
    ASSERT_EQ(support::fill(p), 1u);
  }
  ASSERT_FALSE(p.wait_idle());
  EXPECT_FALSE(p.try_do([] {}));
}

TEST(TryDo, ClosedPoolAnswersErrClosed) {
  pool p;
  p.close();
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
  EXPECT_EQ(p.try_do([] {}), std::errc::operation_not_permitted);
}

TEST(TryDo, StoppedPoolAnswersErrClosed) {
  pool p;
  p.request_stop();
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
}

TEST(TryDo, DrainingPoolAnswersErrClosed) {
  pool p;
  support::occupied busy(p);
  std::thread closer([&] { p.close(); });
  support::wait_until([&] { return p.is_closed(); });
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
  busy.release();
  closer.join();
}

TEST(TryDo, DrainingTaskIsRefusedWhatItSubmits) {
  std::error_code first;
  std::error_code second;
  pool p;
  support::gate closed;
  ASSERT_FALSE(p.try_do([&] {
    closed.wait();
    first = p.try_do([] {});
  }));
  ASSERT_FALSE(p.try_do([&] { second = p.try_do([] {}); }));
  std::thread closer([&] { p.close(); });
  support::wait_until([&] { return p.is_closed(); });
  closed.open();
  closer.join();
  EXPECT_EQ(first, ErrClosed);
  EXPECT_EQ(second, ErrClosed);
}

TEST(TryDo, TaskMaySubmit) {
  std::atomic<int> runs{0};
  pool p{{.buffer = 1}};
  EXPECT_FALSE(support::on_worker(p, [&] { return p.try_do([&] { ++runs; }); }));
  p.close();
  EXPECT_EQ(runs, 1);
}

TEST(TryDo, WorkerOfAFullPoolIsAnsweredErrFull) {
  pool p{{.buffer = 3}};
  const auto answer = support::on_worker(p, [&] {
    support::fill(p);
    return p.try_do([] {});
  });
  EXPECT_EQ(answer, ErrFull);
}

TEST(TryDo, RejectedCountsCallsThatAnsweredFull) {
  pool p{{.buffer = 2}};
  {
    support::occupied busy(p);
    for (int i = 0; i < 2; ++i) ASSERT_FALSE(p.try_do([] {}));
    EXPECT_EQ(p.stats().rejected, 0u);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(p.try_do([] {}), ErrFull);
    EXPECT_EQ(p.stats().rejected, 3u);
    EXPECT_EQ(p.try_do(std::function<void()>()), errc::empty_task);
  }
  p.close();
  EXPECT_EQ(p.try_do([] {}), ErrClosed);
  EXPECT_EQ(p.stats().rejected, 3u);
  EXPECT_EQ(p.stats().accepted, 3u);
}

TEST(TryDo, FailureNamesThePlaceOfSubmission) {
  std::mutex mutex;
  std::vector<fanout::source_location> places;
  pool p{{.on_error = [&](const fanout::error_info& info) {
    const std::lock_guard hold(mutex);
    places.push_back(info.where);
  }}};
  const auto fails = [] { throw 1; };
  const auto here = fanout::source_location::current();
  ASSERT_FALSE(p.try_do(fails));
  const auto given = here;
  ASSERT_FALSE(p.try_do(fails, given));
  p.close();
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].line(), here.line() + 1);
  EXPECT_EQ(std::string(places[0].file_name()), here.file_name());
  EXPECT_EQ(std::string(places[0].function_name()), here.function_name());
  EXPECT_EQ(places[1].line(), here.line());
}

TEST(TryDo, SubmissionHappensBeforeTheRun) {
  std::size_t plain = 0;  // unsynchronised: ThreadSanitizer is the judge
  pool p;
  for (std::size_t i = 0; i < 1000; ++i) {
    plain = i;
    ASSERT_FALSE(p.try_do([&] { ++plain; }));
    ASSERT_FALSE(p.wait_idle());
    ASSERT_EQ(plain, i + 1);
  }
}

TEST(TryDo, EveryAcceptedTaskOfManySubmittersRunsExactlyOnce) {
  constexpr std::size_t submitters = 4;
  constexpr std::size_t each = 5000;
  std::vector<std::atomic<int>> runs(submitters * each);
  {
    pool p{{.workers = 3, .buffer = 7}};
    std::vector<std::thread> threads;
    for (std::size_t s = 0; s < submitters; ++s) {
      threads.emplace_back([&, s] {
        for (std::size_t i = s * each; i < (s + 1) * each; ++i) {
          while (p.try_do([&runs, i] { runs[i].fetch_add(1); })) std::this_thread::yield();
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  for (std::size_t i = 0; i < runs.size(); ++i) ASSERT_EQ(runs[i], 1) << "task " << i;
}

// Races submitters against close: what was accepted ran, what was refused did not, and after its
// first ErrClosed a submitter gets nothing in.
TEST(TryDo, CloseDecidesEachRacingSubmission) {
  constexpr std::size_t submitters = 3;
  for (int round = 0; round < 200; ++round) {
    std::atomic<std::size_t> ran{0};
    std::atomic<std::size_t> accepted{0};
    std::atomic<std::size_t> late{0};
    std::atomic<std::size_t> begun{0};
    pool p{{.workers = 2, .buffer = 4}};
    std::vector<std::thread> threads;
    for (std::size_t s = 0; s < submitters; ++s) {
      threads.emplace_back([&] {
        ++begun;
        for (;;) {
          const std::error_code err = p.try_do([&] { ++ran; });
          if (!err) ++accepted;
          if (err == ErrClosed) break;
          if (err == ErrFull) std::this_thread::yield();
        }
        if (!p.try_do([&] { ++ran; })) ++late;
      });
    }
    support::wait_until([&] { return begun == submitters; });
    p.close();
    const std::size_t ran_by_close = ran;
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(ran_by_close, accepted);
    ASSERT_EQ(ran, accepted);
    ASSERT_EQ(late, 0u);
  }
}

}  // namespace
