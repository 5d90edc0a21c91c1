// The submissions that wait: how long, for what, and with which answer.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <limits>
#include <mutex>
#include <ratio>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using fanout::errc;
using support::watched_sync;
using pool = support::watched_pool;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using std::chrono::system_clock;
using answer = std::future<std::error_code>;

constexpr auto no_task = [] {};

bool is_ready(const answer& a) { return a.wait_for(0s) == std::future_status::ready; }

/// Calls `submit` on a thread of its own and returns when it blocks (or has its answer, wrongly).
template <class Submit> answer blocked(Submit submit) {
  const auto before = watched_sync::blocked.load();
  answer a = std::async(std::launch::async, std::move(submit));
  support::wait_until([&] { return watched_sync::blocked > before || is_ready(a); });
  return a;
}

/// A pool whose one worker is held and whose buffer is full.
struct full_pool {
  explicit full_pool(std::size_t buffer = 1) : p{{.buffer = buffer}}, busy(p) { support::fill(p); }
  pool p;
  support::occupied<pool> busy;
};

/// Each way to wait for ever, blocked on `p`.
std::vector<answer> each_way_of_blocking(pool& p, const std::stop_token& stop) {
  std::vector<answer> all;
  all.push_back(blocked([&p] { return p.do_wait(no_task); }));
  all.push_back(blocked([&p, stop] { return p.do_wait(no_task, stop); }));
  all.push_back(blocked([&p] { return p.do_wait(no_task, std::stop_token()); }));
  all.push_back(blocked([&p] { return p.try_do_for(1h, no_task); }));
  all.push_back(blocked([&p] { return p.try_do_until(system_clock::now() + 1h, no_task); }));
  return all;
}

// --- Accepted

TEST(Blocking, WithRoomDoesNotBlock) {
  std::atomic<int> runs{0};
  const auto count = [&] { ++runs; };
  pool p;
  const auto blocks = watched_sync::blocks.load();
  EXPECT_FALSE(p.do_wait(count));
  EXPECT_FALSE(p.do_wait(count, std::stop_source().get_token()));
  EXPECT_FALSE(p.try_do_for(1h, count));
  EXPECT_FALSE(p.try_do_until(steady_clock::now() + 1h, count));
  EXPECT_EQ(watched_sync::blocks, blocks);
  p.close();
  EXPECT_EQ(runs, 4);
}

TEST(Blocking, LastsUntilThereIsRoom) {
  std::atomic<bool> ran = false;
  full_pool full;
  answer a = blocked([&] { return full.p.do_wait([&] { ran = true; }); });
  EXPECT_FALSE(is_ready(a));
  full.busy.release();
  EXPECT_FALSE(a.get());
  full.p.close();
  EXPECT_TRUE(ran);
}

TEST(Blocking, EndsForEveryCallerWhenThereIsRoom) {
  full_pool full;
  std::stop_source never;
  auto all = each_way_of_blocking(full.p, never.get_token());
  full.busy.release();
  for (auto& a : all) EXPECT_FALSE(a.get());
  EXPECT_FALSE(full.p.wait_idle());
  EXPECT_EQ(full.p.stats().completed, 2 + all.size());
}

// A slot is free when its task starts, not when it ends.
TEST(Blocking, EndsWhenATaskStarts) {
  support::gate first_ends;
  support::gate second_ends;
  pool p{{.buffer = 1}};
  support::gate started;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    first_ends.wait();
  }));
  started.wait();
  ASSERT_FALSE(p.try_do([&] { second_ends.wait(); }));
  answer a = blocked([&] { return p.do_wait(no_task); });
  first_ends.open();
  EXPECT_FALSE(a.get());
  second_ends.open();
  p.close();
}

TEST(Blocking, LosesNoTaskOfManySubmitters) {
  constexpr std::size_t submitters = 4;
  constexpr std::size_t each = 3000;
  for (const std::size_t buffer : {1u, 2u, 7u}) {
    std::vector<std::atomic<int>> runs(submitters * each);
    std::atomic<int> refused{0};
    {
      pool p{{.workers = 2, .buffer = buffer}};
      std::vector<std::thread> threads;
      for (std::size_t s = 0; s < submitters; ++s) {
        threads.emplace_back([&, s] {
          for (std::size_t i = s * each; i < (s + 1) * each; ++i) {
            if (p.do_wait([&runs, i] { runs[i].fetch_add(1); })) ++refused;
          }
        });
      }
      for (auto& thread : threads) thread.join();
      EXPECT_EQ(p.stats().rejected, 0u);
    }
    EXPECT_EQ(refused, 0);
    for (std::size_t i = 0; i < runs.size(); ++i) ASSERT_EQ(runs[i], 1) << "task " << i;
  }
}

/// Holds the worker that takes it out of its slot, then as a task.
struct slow_to_leave {
  support::gate* leaves;
  support::gate* ends;
  std::atomic<bool>* armed;
  slow_to_leave(support::gate& l, support::gate& e, std::atomic<bool>& a)
      : leaves(&l), ends(&e), armed(&a) {}
  slow_to_leave(slow_to_leave&& other) noexcept
      : leaves(other.leaves), ends(other.ends), armed(other.armed) {
    if (*armed) leaves->wait();
  }
  void operator()() const { ends->wait(); }
};

// The second slot is freed before the first, which is next in order. One caller is woken for it in
// vain; when the first slot is free at last there is room for both callers.
TEST(Blocking, EndsForAllWhomSlotsFreedOutOfOrderHaveRoomFor) {
  support::gate first_leaves;
  support::gate second_started;
  support::gate tasks_end;
  std::atomic<bool> armed = false;
  pool p{{.workers = 2, .buffer = 2}};
  support::occupied busy(p);
  ASSERT_FALSE(p.try_do(slow_to_leave(first_leaves, tasks_end, armed)));
  ASSERT_FALSE(p.try_do([&] {
    second_started.open();
    tasks_end.wait();
  }));
  answer a = blocked([&] { return p.do_wait(no_task); });
  answer b = blocked([&] { return p.do_wait(no_task); });
  armed = true;
  busy.release();
  second_started.wait();
  support::wait_until([&] { return watched_sync::blocked == 1; });  // the other awaits the vacancy
  EXPECT_FALSE(is_ready(a));
  EXPECT_FALSE(is_ready(b));
  first_leaves.open();
  EXPECT_FALSE(a.get());  // while both workers are held
  EXPECT_FALSE(b.get());
  tasks_end.open();
  p.close();
}

// --- Closed

TEST(Blocking, EndsForEveryCallerWhenThePoolCloses) {
  full_pool full;
  std::stop_source never;
  auto all = each_way_of_blocking(full.p, never.get_token());
  std::thread closer([&] { full.p.close(); });
  for (auto& a : all) EXPECT_EQ(a.get(), errc::closed);  // while the worker is still held
  full.busy.release();
  closer.join();
  EXPECT_EQ(full.p.stats().completed, 2u);
}

TEST(Blocking, EndsForEveryCallerOnRequestStop) {
  full_pool full;
  auto all = each_way_of_blocking(full.p, std::stop_token());
  full.p.request_stop();
  for (auto& a : all) EXPECT_EQ(a.get(), errc::closed);
}

TEST(Blocking, EndsForEveryCallerWhenAWorkerCloses) {
  support::gate may_close;
  support::gate may_end;
  pool p{{.buffer = 1}};
  std::error_code of_close;
  support::gate started;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    may_close.wait();
    of_close = p.close();
    may_end.wait();
  }));
  started.wait();
  ASSERT_EQ(support::fill(p), 1u);
  auto all = each_way_of_blocking(p, std::stop_token());
  may_close.open();
  for (auto& a : all) EXPECT_EQ(a.get(), errc::closed);
  may_end.open();
  p.close();
  EXPECT_EQ(of_close, errc::would_deadlock);
}

// --- Canceled

TEST(Blocking, EndsWithCanceledWhenStopped) {
  full_pool full;
  std::stop_source stop;
  answer a = blocked([&] { return full.p.do_wait(no_task, stop.get_token()); });
  EXPECT_FALSE(is_ready(a));
  stop.request_stop();
  const std::error_code err = a.get();
  EXPECT_EQ(err, errc::canceled);
  EXPECT_EQ(err, std::errc::operation_canceled);
}

TEST(Blocking, IsCanceledAtOnceByAStoppedToken) {
  full_pool full;
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(full.p.do_wait(no_task, stop.get_token()), errc::canceled);
}

TEST(Blocking, IsCanceledByItsOwnTokenOnly) {
  full_pool full;
  std::stop_source one;
  std::stop_source other;
  answer a = blocked([&] { return full.p.do_wait(no_task, one.get_token()); });
  answer b = blocked([&] { return full.p.do_wait(no_task, other.get_token()); });
  answer c = blocked([&] { return full.p.do_wait(no_task); });
  one.request_stop();
  EXPECT_EQ(a.get(), errc::canceled);
  full.busy.release();
  EXPECT_FALSE(b.get());
  EXPECT_FALSE(c.get());
}

TEST(Blocking, DoesNotUseUpTheToken) {
  full_pool full;
  std::stop_source stop;
  answer a = blocked([&] { return full.p.do_wait(no_task, stop.get_token()); });
  full.busy.release();
  EXPECT_FALSE(a.get());
  EXPECT_FALSE(stop.stop_requested());
  EXPECT_TRUE(stop.request_stop());
  EXPECT_FALSE(full.p.do_wait(no_task));
}

// --- Deadlines

TEST(Deadline, EndsWithTimedOut) {
  full_pool full;
  const std::error_code err = full.p.try_do_for(1ms, no_task);
  EXPECT_EQ(err, errc::timed_out);
  EXPECT_EQ(err, std::errc::timed_out);
  EXPECT_EQ(full.p.try_do_until(steady_clock::now() + 1ms, no_task), errc::timed_out);
  EXPECT_EQ(full.p.try_do_until(system_clock::now() + 1ms, no_task), errc::timed_out);
}

TEST(Deadline, IsNotAnticipated) {
  full_pool full;
  for (int i = 0; i < 20; ++i) {
    const auto wait = i * 100us;
    const auto begin = steady_clock::now();
    ASSERT_EQ(full.p.try_do_for(wait, no_task), errc::timed_out);
    ASSERT_GE(steady_clock::now() - begin, wait);
    const auto deadline = steady_clock::now() + wait;
    ASSERT_EQ(full.p.try_do_until(deadline, no_task), errc::timed_out);
    ASSERT_GE(steady_clock::now(), deadline);
  }
}

TEST(Deadline, MayHavePassed) {
  full_pool full;
  const auto expect_timed_out = [&](const auto& duration) {
    EXPECT_EQ(full.p.try_do_for(duration, no_task), errc::timed_out);
  };
  expect_timed_out(0s);
  expect_timed_out(-1ns);
  expect_timed_out(std::chrono::hours::min());
  expect_timed_out(std::chrono::nanoseconds::min());
  expect_timed_out(std::chrono::duration<double>(-1.5));
  expect_timed_out(std::chrono::duration<double>(-std::numeric_limits<double>::infinity()));
  const auto expect_timed_out_at = [&](const auto& deadline) {
    EXPECT_EQ(full.p.try_do_until(deadline, no_task), errc::timed_out);
  };
  expect_timed_out_at(steady_clock::now());
  expect_timed_out_at(steady_clock::time_point());
  expect_timed_out_at(steady_clock::time_point::min());
  expect_timed_out_at(system_clock::now() - 1h);
  expect_timed_out_at(system_clock::time_point::min());
  expect_timed_out_at(std::chrono::time_point<system_clock, std::chrono::hours>::min());
}

TEST(Deadline, SaturatesToForever) {
  full_pool full;
  std::vector<answer> all;
  const auto wait_for = [&](auto duration) {
    all.push_back(blocked([&, duration] { return full.p.try_do_for(duration, no_task); }));
  };
  wait_for(std::chrono::hours::max());
  wait_for(std::chrono::minutes::max());
  wait_for(std::chrono::nanoseconds::max());
  wait_for(std::chrono::duration<std::int64_t, std::ratio<31556952>>::max());
  wait_for(std::chrono::duration<double>::max());
  wait_for(std::chrono::duration<float, std::milli>(std::numeric_limits<float>::infinity()));
  const auto wait_until = [&](auto deadline) {
    all.push_back(blocked([&, deadline] { return full.p.try_do_until(deadline, no_task); }));
  };
  wait_until(steady_clock::time_point::max());
  wait_until(system_clock::time_point::max());
  wait_until(std::chrono::time_point<system_clock, std::chrono::hours>::max());
  wait_until(std::chrono::time_point<steady_clock, std::chrono::duration<double>>::max());
  for (auto& a : all) EXPECT_FALSE(is_ready(a));
  full.busy.release();
  for (auto& a : all) EXPECT_FALSE(a.get());
}

// In steps of 1/3579545 s a year has no number of nanoseconds that 64 bits hold on the way.
TEST(Deadline, MayBeFarInAUnitThatDividesNoNanosecond) {
  full_pool full;
  using tick = std::chrono::duration<std::int64_t, std::ratio<1, 3579545>>;
  auto a = blocked([&] { return full.p.try_do_for(tick(3579545ll * 86400 * 365), no_task); });
  EXPECT_FALSE(is_ready(a));
  full.busy.release();
  EXPECT_FALSE(a.get());
}

/// A platform on which something happens before this thread next takes a lock, once: a submitter
/// that was refused is then about to count itself among those who wait.
struct interposed_sync : fanout::detail::native_sync {
  inline static thread_local std::function<void()> meanwhile;
  inline static std::atomic<unsigned> waits{0};
  struct mutex : std::mutex {
    void lock() {
      if (meanwhile) std::exchange(meanwhile, nullptr)();
      std::mutex::lock();
    }
  };
  struct condition_variable : std::condition_variable_any {
    template <class... Args> auto wait(Args&&... args) {
      ++waits;
      return std::condition_variable_any::wait(std::forward<Args>(args)...);
    }
    template <class... Args> auto wait_until(Args&&... args) {
      ++waits;
      return std::condition_variable_any::wait_until(std::forward<Args>(args)...);
    }
  };
};
struct interposed_policy : fanout::default_policy {
  using sync = interposed_sync;
};

TEST(Blocking, IsNotNeededWhenRoomComesBeforeTheSubmitterIsCounted) {
  fanout::basic_pool<interposed_policy> p;
  support::occupied busy(p);
  const auto accepted = support::fill(p);
  const auto waits = interposed_sync::waits.load();
  interposed_sync::meanwhile = [&] {
    busy.release();
    support::wait_until([&] { return p.stats().completed == accepted + p.workers(); });
  };
  EXPECT_FALSE(p.do_wait(no_task));
  EXPECT_EQ(interposed_sync::meanwhile, nullptr);
  EXPECT_EQ(interposed_sync::waits, waits);
}

// Room and the end of the wait come together: the first of the answers is acceptance.
TEST(Blocking, AcceptsWhereThereIsRoomThoughStoppedOrLate) {
  for (const bool stopped : {true, false}) {
    support::gate started;
    support::gate release;
    fanout::basic_pool<interposed_policy> p;  // its tasks end before the gates do
    support::occupied first(p);
    ASSERT_FALSE(p.try_do([&] {
      started.open();
      release.wait();
    }));
    support::fill(p);
    std::stop_source stop;
    const auto deadline = steady_clock::now() + 50ms;
    interposed_sync::meanwhile = [&] {
      first.release();
      started.wait();  // one slot is free
      stop.request_stop();
      support::wait_until([&] { return steady_clock::now() > deadline; });
    };
    EXPECT_FALSE(stopped ? p.do_wait(no_task, stop.get_token())
                         : p.try_do_until(deadline, no_task));
    EXPECT_EQ(interposed_sync::meanwhile, nullptr);
    release.open();
  }
}

TEST(Deadline, MayBeInAnyUnit) {
  full_pool full;
  EXPECT_EQ(full.p.try_do_for(std::chrono::duration<double, std::milli>(0.5), no_task),
            errc::timed_out);
  EXPECT_EQ(full.p.try_do_for(std::chrono::duration<float>(1e-4F), no_task), errc::timed_out);
  EXPECT_EQ(full.p.try_do_for(std::chrono::duration<short, std::micro>(100), no_task),
            errc::timed_out);
  EXPECT_EQ(full.p.try_do_for(std::chrono::duration<int, std::pico>(100), no_task),
            errc::timed_out);
}

/// A clock of an application: its own epoch, its own unit, and not std::chrono's business.
struct session_clock {
  using rep = double;
  using period = std::milli;
  using duration = std::chrono::duration<rep, period>;
  using time_point = std::chrono::time_point<session_clock>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() {
    return time_point(steady_clock::now().time_since_epoch() - std::chrono::hours(100'000));
  }
};

TEST(Deadline, MayBeOfAnyClock) {
  full_pool full;
  const auto before = session_clock::now();
  EXPECT_EQ(full.p.try_do_until(session_clock::now() + 1ms, no_task), errc::timed_out);
  EXPECT_GE(session_clock::now() - before, 999us);  // a double counts these milliseconds
  EXPECT_EQ(full.p.try_do_until(session_clock::now() - 1ms, no_task), errc::timed_out);
  EXPECT_EQ(full.p.try_do_until(session_clock::time_point::min(), no_task), errc::timed_out);
  answer a =
      blocked([&] { return full.p.try_do_until(session_clock::time_point::max(), no_task); });
  answer b = blocked([&] { return full.p.try_do_until(session_clock::now() + 1h, no_task); });
  EXPECT_FALSE(is_ready(a));
  full.busy.release();
  EXPECT_FALSE(a.get());
  EXPECT_FALSE(b.get());
}

// Whoever gives up takes nobody's wake with it.
TEST(Deadline, LeavesTheOthersBlocked) {
  full_pool full;
  answer stays = blocked([&] { return full.p.do_wait(no_task); });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(full.p.try_do_for(50us, no_task), errc::timed_out);
  }
  EXPECT_FALSE(is_ready(stays));
  full.busy.release();
  EXPECT_FALSE(stays.get());
}

// Short deadlines race with slots that become free; a patient caller still gets each of its own in.
TEST(Deadline, RacingWithRoomLosesNoWake) {
  std::atomic<std::uint64_t> impatient_accepted{0};
  std::atomic<int> failures{0};
  std::atomic<bool> done = false;
  pool p{{.workers = 1, .buffer = 1}};
  std::thread impatient([&] {
    while (!done) {
      const auto err = p.try_do_for(20us, no_task);
      if (!err) ++impatient_accepted;
      if (err && err != errc::timed_out) ++failures;
    }
  });
  for (int i = 0; i < 3000; ++i) {
    if (p.do_wait(no_task)) ++failures;
  }
  done = true;
  impatient.join();
  p.close();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(p.stats().completed, 3000 + impatient_accepted);
}

// --- On a worker

TEST(OnAWorker, FullMeansWouldDeadlock) {
  pool p{{.workers = 2, .buffer = 1}};
  support::gate held;
  support::gate started;
  ASSERT_FALSE(p.try_do([&] {
    started.open();
    held.wait();
  }));
  started.wait();
  const auto answers = support::on_worker(p, [&] {
    support::fill(p);
    return std::vector{p.do_wait(no_task), p.do_wait(no_task, std::stop_token()),
                       p.do_wait(no_task, std::stop_source().get_token()),
                       p.try_do_for(1h, no_task),
                       p.try_do_until(steady_clock::time_point::max(), no_task)};
  });
  held.open();
  p.close();
  for (const auto& err : answers) EXPECT_EQ(err, errc::would_deadlock);
  EXPECT_EQ(answers[0], std::errc::resource_deadlock_would_occur);
}

TEST(OnAWorker, RoomMeansAccepted) {
  std::atomic<int> runs{0};
  const auto count = [&] { ++runs; };
  pool p{{.buffer = 4}};
  const auto answers = support::on_worker(p, [&] {
    return std::vector{p.do_wait(count), p.do_wait(count, std::stop_token()),
                       p.try_do_for(1h, count),
                       p.try_do_until(steady_clock::time_point::max(), count)};
  });
  p.close();
  for (const auto& err : answers) EXPECT_FALSE(err);
  EXPECT_EQ(runs, 4);
}

TEST(OnAWorker, IncludesErrorHandlersAndHooks) {
  std::error_code in_hook;
  std::error_code in_handler;
  std::atomic<pool*> self = nullptr;
  support::gate hook_ended;
  const auto ask = [&] {
    support::wait_until([&] { return self != nullptr; });
    support::fill(*self);
    return self.load()->do_wait(no_task);
  };
  pool p{{.buffer = 2,
          .on_error = [&](const fanout::error_info&) { in_handler = ask(); },
          .on_worker_start =
              [&](std::size_t) {
                in_hook = ask();
                hook_ended.open();
              }}};
  self = &p;
  hook_ended.wait();
  ASSERT_FALSE(p.do_wait([] { throw 1; }));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(in_hook, errc::would_deadlock);
  EXPECT_EQ(in_handler, errc::would_deadlock);
}

TEST(OnAWorker, OfAnotherPoolTheCallBlocks) {
  full_pool full;
  pool other;
  std::promise<std::error_code> promise;
  answer a = promise.get_future();
  ASSERT_FALSE(other.try_do([&] { promise.set_value(full.p.do_wait(no_task)); }));
  support::wait_until([&] { return watched_sync::blocked == 1 || is_ready(a); });
  EXPECT_FALSE(is_ready(a));
  full.busy.release();
  EXPECT_FALSE(a.get());
}

// --- The place of submission

TEST(Blocking, KeepsThePlaceOfSubmission) {
  std::vector<std::uint_least32_t> lines;
  pool p{{.on_error = [&](const fanout::error_info& info) { lines.push_back(info.where.line()); }}};
  const auto fails = [] { throw 1; };
  const auto here = fanout::source_location::current();
  ASSERT_FALSE(p.do_wait(fails));
  ASSERT_FALSE(p.do_wait(fails, std::stop_token()));
  ASSERT_FALSE(p.try_do_for(1s, fails));
  ASSERT_FALSE(p.try_do_until(steady_clock::now(), fails));
  ASSERT_FALSE(p.do_wait(fails, here));
  ASSERT_FALSE(p.do_wait(fails, std::stop_token(), here));
  ASSERT_FALSE(p.try_do_for(1s, fails, here));
  ASSERT_FALSE(p.try_do_until(steady_clock::now(), fails, here));
  p.close();
  const auto n = here.line();
  EXPECT_EQ(lines, (std::vector{n + 1, n + 2, n + 3, n + 4, n, n, n, n}));
}

}  // namespace
