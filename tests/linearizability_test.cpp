// What concurrent callers see is what one bounded FIFO with a closed bit shows, one step at a time.
// FANOUT_TEST_HISTORIES=N examines N histories.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "history.hpp"
#include "load.hpp"

namespace {

using support::dice;
using support::history;
using support::load;
using support::passage;

// --- The checker

TEST(HistoryChecker, AllowsOneTaskAfterAnother) {
  history h(1);
  h.accepted(0, 1, 2);
  h.started(0, 0, 3);
  h.accepted(1, 4, 5);
  h.refused_full(5, 6);
  h.started(1, 4, 7);
  h.close(8, 9);
  h.refused_closed(10, 11);
  EXPECT_TRUE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsALostTask) {
  history h(2);
  h.accepted(0, 1, 2);
  h.accepted(1, 3, 4);
  h.started(0, 0, 5);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsATaskThatRunsTwice) {
  history h(2);
  h.accepted(0, 1, 2);
  h.started(0, 0, 3);
  h.started(0, 0, 4);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsATaskThatRunsThoughRefused) {
  history h(1);
  h.accepted(0, 1, 2);
  h.refused_full(3, 4);
  h.started(0, 0, 5);
  h.started(1, 5, 6);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsAStartBeforeTheSubmission) {
  history h(1);
  h.started(0, 1, 2);
  h.accepted(0, 3, 4);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, AllowsAStartBeforeTheSubmissionReturns) {
  history h(1);
  h.accepted(0, 1, 5);
  h.started(0, 0, 2);
  EXPECT_TRUE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsStartsOutOfOrder) {
  history h(2);
  h.accepted(0, 1, 2);
  h.accepted(1, 3, 4);
  h.started(1, 0, 5);
  h.started(0, 6, 7);  // its worker came after the other start
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, AllowsEitherOrderOfConcurrentSubmissions) {
  for (const std::size_t first : {0u, 1u}) {
    history h(2);
    h.accepted(0, 1, 4);
    h.accepted(1, 2, 3);
    h.started(first, 0, 5);
    h.started(1 - first, 6, 7);
    EXPECT_TRUE(h.is_linearizable());
  }
}

TEST(HistoryChecker, AllowsStartsOutOfOrderByTwoWorkersThatTookInOrder) {
  history h(2);
  h.accepted(0, 1, 2);
  h.accepted(1, 3, 4);
  h.started(1, 0, 6);
  h.started(0, 5, 7);
  EXPECT_TRUE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsFullOfAnEmptyPool) {
  history h(1);
  h.refused_full(1, 2);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsFullWithASlotFree) {
  history h(2);
  h.accepted(0, 1, 2);
  h.refused_full(3, 4);
  h.started(0, 0, 5);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsFullWhenTheTaskRuns) {
  history h(1);
  h.accepted(0, 1, 2);
  h.started(0, 0, 3);
  h.refused_full(4, 5);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, AllowsFullWhileTheNextSlotIsBeingEmptied) {
  history h(2);
  h.accepted(0, 1, 2);
  h.accepted(1, 3, 4);
  h.started(1, 0, 10);  // so task 0 was taken before, and may still be leaving its slot
  h.refused_full(11, 12);
  h.started(0, 0, 20);
  EXPECT_TRUE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsMoreThanTheCapacity) {
  history h(1);
  h.accepted(0, 1, 2);
  h.accepted(1, 3, 4);
  h.started(0, 5, 6);
  h.started(1, 7, 8);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsAcceptanceAfterClose) {
  history h(1);
  h.close(1, 2);
  h.accepted(0, 3, 4);
  h.started(0, 0, 5);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsAcceptanceAfterAnAnswerOfClosed) {
  history h(1);
  h.close(1, 10);
  h.refused_closed(2, 3);
  h.accepted(0, 4, 5);
  h.started(0, 0, 6);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsClosedBeforeClose) {
  history h(1);
  h.refused_closed(1, 2);
  h.close(3, 4);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsFullOfAClosedPool) {
  history h(1);
  h.accepted(0, 1, 2);
  h.close(3, 4);
  h.refused_full(5, 6);
  h.started(0, 0, 7);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(HistoryChecker, RejectsAPoolThatOpensAgain) {
  history h(1);
  h.close(1, 10);
  h.saw_closed(2, 3);
  h.saw_open(4, 5);
  EXPECT_FALSE(h.is_linearizable());
}

TEST(OrderChecker, SeesWhatWasOvertaken) {
  const std::vector<passage> in_order{{1, 2, 0, 5}, {3, 4, 6, 7}};
  EXPECT_EQ(support::overtaken(in_order), 0u);
  const std::vector<passage> swapped{{1, 2, 6, 7}, {3, 4, 0, 5}};
  EXPECT_EQ(support::overtaken(swapped), 1u);
  const std::vector<passage> concurrent{{1, 4, 6, 7}, {2, 3, 0, 5}};
  EXPECT_EQ(support::overtaken(concurrent), 0u);
}

// --- Recording

/// One clock for all threads: an event that ended before another began has the smaller time.
std::atomic<std::uint64_t> ticks{1};
std::uint64_t now() { return ticks.fetch_add(1); }

/// What one worker ran.
struct log {
  struct run {
    std::size_t task;
    std::uint64_t free_from, started;
  };
  std::uint64_t ended = 0;  // the last of them
  std::vector<run> runs;
};
thread_local log* own_log = nullptr;

/// A task that notes when it started and ended.
auto recorded(std::size_t task, std::size_t work) {
  return [task, work] {
    log& mine = *own_log;
    mine.runs.push_back({task, mine.ended, now()});
    for (std::size_t n = work; n > 0; --n) fanout::detail::native_sync::pause();
    mine.ended = now();
  };
}

fanout::options recording(std::vector<log>& logs, std::size_t capacity) {
  for (log& one : logs) one.ended = now();
  return {.workers = logs.size(), .buffer = capacity, .on_worker_start = [&](std::size_t index) {
            own_log = &logs[index];
          }};
}

struct sleepy : fanout::default_policy {
  static constexpr unsigned spins = 0;
};
struct stirred : sleepy {
  using sync = support::stirred_sync;
};
struct policy_names {
  template <class Policy> static std::string GetName(int) {
    return std::is_same_v<Policy, stirred>  ? "Stirred"
           : std::is_same_v<Policy, sleepy> ? "WithoutSpins"
                                            : "WithSpins";
  }
};
using policies = testing::Types<fanout::default_policy, sleepy, stirred>;

// --- Small histories, examined in full

/// A call of a submitter, and its answer.
struct call {
  enum kind { submit, close, look } what;
  std::size_t task = 0;
  std::uint64_t from = 0, to = 0;
  std::error_code answer{};
  bool saw_closed = false;
};

template <class Pool>
std::vector<call> make_calls(Pool& p, dice draw, std::size_t first_task, std::size_t tasks,
                             std::size_t closes_at) {
  std::vector<call> calls;
  for (std::size_t i = 0; i < tasks; ++i) {
    if (draw.one_in(2)) support::think(draw, 100);
    call now_closes{call::close};
    if (i == closes_at) {
      now_closes.from = now();
      if (draw.one_in(2)) {
        p.close();
      } else {
        p.request_stop();
      }
      now_closes.to = now();
      calls.push_back(now_closes);
      continue;
    }
    if (draw.one_in(8)) {
      call looks{call::look};
      looks.from = now();
      looks.saw_closed = p.is_closed();
      looks.to = now();
      calls.push_back(looks);
      continue;
    }
    call submits{call::submit, first_task + i};
    const auto task = recorded(submits.task, draw.one_in(2) ? draw.below(100) : 0);
    const bool waits = draw.one_in(6);
    submits.from = now();
    submits.answer = waits ? p.do_wait(task) : p.try_do(task);
    submits.to = now();
    calls.push_back(submits);
  }
  return calls;
}

struct totals {
  std::uint64_t histories = 0, accepted = 0, full = 0, closed = 0, overlapping = 0, overlaps = 0,
                states = 0;
};

/// Two or three submitters and one or two workers, four threads at most, eight operations each.
template <class Policy> void examine(std::uint64_t stream, totals& sum) {
  dice draw(stream);
  const std::size_t submitters = 2 + draw.below(2);
  const std::size_t workers = 1 + draw.below(4 - submitters);
  const std::size_t capacity = 1 + draw.below(3);
  const std::size_t calls_each = submitters == 2 ? 8 : 5;
  const std::size_t closer = draw.below(2 * submitters);  // half of the histories: nobody
  std::vector<log> logs(workers);
  std::vector<std::vector<call>> calls(submitters);
  history seen(capacity);
  {
    fanout::basic_pool<Policy> p(recording(logs, capacity));
    std::atomic<std::size_t> arrived{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < submitters; ++t) {
      threads.emplace_back([&, t] {
        dice own(stream + t + 1);
        const std::size_t closes_at = t == closer ? own.below(calls_each) : calls_each;
        ++arrived;
        support::wait_until([&] { return arrived == submitters; });
        calls[t] = make_calls(p, own, t * calls_each, calls_each, closes_at);
      });
    }
    for (auto& thread : threads) thread.join();
    if (draw.one_in(2)) {
      ASSERT_FALSE(p.wait_idle());
    }
  }

  for (const auto& of_one : calls) {
    for (const call& c : of_one) {
      if (c.what == call::close) {
        seen.close(c.from, c.to);
      } else if (c.what == call::look) {
        c.saw_closed ? seen.saw_closed(c.from, c.to) : seen.saw_open(c.from, c.to);
      } else if (!c.answer) {
        seen.accepted(c.task, c.from, c.to);
        ++sum.accepted;
      } else if (c.answer == fanout::ErrFull) {
        seen.refused_full(c.from, c.to);
        ++sum.full;
      } else {
        ASSERT_EQ(c.answer, fanout::ErrClosed);
        seen.refused_closed(c.from, c.to);
        ++sum.closed;
      }
    }
  }
  for (const log& one : logs) {
    for (const auto& run : one.runs) seen.started(run.task, run.free_from, run.started);
  }
  ++sum.histories;
  const auto overlaps = seen.overlaps();
  sum.overlaps += overlaps;
  sum.overlapping += overlaps != 0;
  ASSERT_TRUE(seen.is_linearizable(&sum.states))
      << submitters << " submitters, " << workers << " workers, capacity " << capacity
      << seen.text();
}

template <class Policy> class Linearizable : public testing::Test {};
TYPED_TEST_SUITE(Linearizable, policies, policy_names);

TYPED_TEST(Linearizable, EverySmallHistoryHasAnOrder) {
  const char* const given = std::getenv("FANOUT_TEST_HISTORIES");
  const std::uint64_t n = given != nullptr ? std::strtoull(given, nullptr, 10) : load(8000);
  SCOPED_TRACE("FANOUT_TEST_SEED=" + std::to_string(support::seed()));
  totals sum;
  for (std::uint64_t i = 0; i < n && !testing::Test::HasFatalFailure(); ++i) {
    examine<TypeParam>(i * 10, sum);
  }
  using number = unsigned long long;
  std::printf(
      "%llu histories, %llu with overlaps (%llu pairs); %llu accepted, %llu full, %llu "
      "closed; %llu states\n",
      number{sum.histories}, number{sum.overlapping}, number{sum.overlaps}, number{sum.accepted},
      number{sum.full}, number{sum.closed}, number{sum.states});
  EXPECT_GT(sum.overlapping, n / 10);
  EXPECT_GT(sum.full, n);
  EXPECT_GT(sum.closed, n / 10);
}

// --- Large histories, examined for order

template <class Policy> class Order : public testing::Test {};
TYPED_TEST_SUITE(Order, policies, policy_names);

TYPED_TEST(Order, OfStartsIsThatOfAcceptanceInLargeHistories) {
  constexpr std::size_t producers = 4;
  constexpr std::size_t share = load(std::is_same_v<TypeParam, stirred> ? 4'000 : 10'000);
  for (const std::size_t workers : {1u, 2u, 4u}) {
    for (const std::size_t capacity : {1u, 7u, 1024u}) {
      const std::string where =
          std::to_string(workers) + " workers, capacity " + std::to_string(capacity);
      std::vector<log> logs(workers);
      std::vector<passage> tasks(producers * share);
      {
        fanout::basic_pool<TypeParam> p(recording(logs, capacity));
        const support::watchdog<fanout::basic_pool<TypeParam>> progress(p, where);
        std::vector<std::thread> threads;
        for (std::size_t t = 0; t < producers; ++t) {
          threads.emplace_back([&, t] {
            for (std::size_t i = t * share; i < (t + 1) * share; ++i) {
              do {
                tasks[i].submitted_from = now();
              } while ((i % 2 == 0 ? p.try_do(recorded(i, 0)) : p.do_wait(recorded(i, 0))) &&
                       (std::this_thread::yield(), true));
              tasks[i].submitted_to = now();
            }
          });
        }
        for (auto& thread : threads) thread.join();
      }
      std::size_t runs = 0;
      for (const log& one : logs) {
        std::vector<std::size_t> next(producers);
        for (const auto& run : one.runs) {
          tasks[run.task].free_from = run.free_from;
          tasks[run.task].started = run.started;
          if (workers == 1) {
            ASSERT_EQ(run.task % share, next[run.task / share]++) << where;
          }
        }
        runs += one.runs.size();
      }
      ASSERT_EQ(runs, tasks.size()) << where;
      EXPECT_EQ(support::overtaken(tasks), 0u) << where;
    }
  }
}

}  // namespace
