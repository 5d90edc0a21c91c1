// What a worker does around its tasks: its hooks, its name, its signal mask.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <latch>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <signal.h>
#endif

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;

TEST(Hooks, StartRunsBeforeAndStopAfterTheWorkersTasks) {
  std::string order;  // unsynchronised: ThreadSanitizer is the judge
  pool p{{.on_worker_start = [&](std::size_t) { order += 's'; },
          .on_worker_stop = [&](std::size_t) { order += 'e'; }}};
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([&] { order += 't'; }));
  p.close();
  EXPECT_EQ(order, "sttte");
}

TEST(Hooks, TasksWaitForTheirWorkersStart) {
  std::atomic<bool> ran = false;
  support::gate entered;
  support::gate go;
  pool p{{.on_worker_start = [&](std::size_t) {
    entered.open();
    go.wait();
  }}};
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  entered.wait();
  EXPECT_EQ(p.size(), 1u);
  EXPECT_FALSE(ran);
  go.open();
  ASSERT_FALSE(p.wait_idle());
  EXPECT_TRUE(ran);
}

// A worker whose start is slow does not hold up the tasks that others could run.
TEST(Hooks, SlowStartOfOneWorkerDelaysNoOther) {
  support::gate go;
  pool p{{.workers = 2, .on_worker_start = [&](std::size_t worker) {
            if (worker == 0) go.wait();
          }}};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(support::on_worker(p, [i] { return i; }), i);
  go.open();
}

TEST(Hooks, RunOnceForEachIndexOnItsOwnWorker) {
  constexpr std::size_t workers = 5;
  std::mutex mutex;
  using record = std::vector<std::pair<std::size_t, std::thread::id>>;
  record started;
  record stopped;
  const auto note = [&](record& in, std::size_t worker) {
    const std::lock_guard hold(mutex);
    in.emplace_back(worker, std::this_thread::get_id());
  };
  {
    const pool p{{.workers = workers,
                  .on_worker_start = [&](std::size_t worker) { note(started, worker); },
                  .on_worker_stop = [&](std::size_t worker) { note(stopped, worker); }}};
  }
  std::sort(started.begin(), started.end());
  std::sort(stopped.begin(), stopped.end());
  ASSERT_EQ(started.size(), workers);
  for (std::size_t i = 0; i < workers; ++i) EXPECT_EQ(started[i].first, i);
  EXPECT_EQ(started, stopped);
}

TEST(Hooks, StopHasRunBeforeCloseReturns) {
  int stopped = 0;  // unsynchronised, as above
  pool p{{.on_worker_stop = [&](std::size_t) { ++stopped; }}};
  p.close();
  EXPECT_EQ(stopped, 1);
}

TEST(Hooks, StopDoesNotRunWhileThePoolIsOpen) {
  std::atomic<int> stopped{0};
  pool p{{.workers = 2, .on_worker_stop = [&](std::size_t) { ++stopped; }}};
  ASSERT_FALSE(p.try_do([] {}));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_EQ(stopped, 0);
  p.close();
  EXPECT_EQ(stopped, 2);
}

TEST(Hooks, WhatTheyThrowIsWrittenToStderrAndSwallowed) {
  std::atomic<int> ran{0};
  testing::internal::CaptureStderr();
  {
    pool p{{.name = "cache",
            .workers = 2,
            .on_worker_start = [](std::size_t) { throw std::runtime_error("bad start"); },
            .on_worker_stop = [](std::size_t) { throw 7; }}};
    for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
    p.close();
    EXPECT_EQ(p.stats().completed, 10u);
    EXPECT_EQ(p.stats().failed, 0u);
  }
  const auto text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(ran, 10);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
  EXPECT_NE(text.find("bad start"), std::string::npos) << text;
  EXPECT_NE(text.find("cache"), std::string::npos) << text;
  EXPECT_NE(text.find("on_worker_start"), std::string::npos) << text;
  EXPECT_NE(text.find("on_worker_stop"), std::string::npos) << text;
}

TEST(Hooks, FailuresAreNoConcernOfOnError) {
  std::atomic<int> reported{0};
  testing::internal::CaptureStderr();
  {
    const pool p{{.on_error = [&](const fanout::error_info&) { ++reported; },
                  .on_worker_start = [](std::size_t) { throw 1; },
                  .on_worker_stop = [](std::size_t) { throw 2; }}};
  }
  static_cast<void>(testing::internal::GetCapturedStderr());
  EXPECT_EQ(reported, 0);
}

TEST(Hooks, WaitingInOneWouldDeadlock) {
  std::vector<std::error_code> answers;
  support::gate made;
  pool* self = nullptr;
  const auto ask = [&](std::size_t) {
    made.wait();
    answers.push_back(self->wait_idle());
    answers.push_back(self->close());
  };
  pool p{{.on_worker_start = ask, .on_worker_stop = ask}};
  self = &p;
  made.open();
  EXPECT_FALSE(p.close());
  ASSERT_EQ(answers.size(), 4u);
  for (const auto& answer : answers) EXPECT_EQ(answer, errc::would_deadlock);
}

TEST(Hooks, StartMaySubmit) {
  std::atomic<int> ran{0};
  std::error_code answer;
  support::gate made;
  pool* self = nullptr;
  pool p{{.on_worker_start = [&](std::size_t) {
    made.wait();
    answer = self->try_do([&] { ++ran; });
  }}};
  self = &p;
  made.open();
  support::wait_until([&] { return ran == 1; });
  p.close();
  EXPECT_FALSE(answer);
}

#if defined(__linux__)

/// The names of a pool's threads, in order.
std::vector<std::string> names(const std::string& name, std::size_t workers) {
  std::vector<std::string> result(workers);
  {
    const pool p{{.name = name, .workers = workers, .on_worker_stop = [&](std::size_t worker) {
                    char text[16] = "";
                    ::pthread_getname_np(::pthread_self(), text, sizeof text);
                    result[worker] = text;  // each its own
                  }}};
  }
  return result;
}

using strings = std::vector<std::string>;

TEST(ThreadName, IsThePoolsWithTheIndex) {
  EXPECT_EQ(names("cache", 2), (strings{"cache/0", "cache/1"}));
  EXPECT_EQ(names("anonymous", 1), (strings{"anonymous/0"}));
}

TEST(ThreadName, KeepsFifteenCharactersOfBothEndsAndTheIndex) {
  EXPECT_EQ(names("thirteen-char", 1), (strings{"thirteen-char/0"}));
  EXPECT_EQ(names("fourteen-chars", 1), (strings{"fourte~-chars/0"}));
  const auto eleven = names("a very long name indeed", 11);
  EXPECT_EQ(eleven[9], "a very~indeed/9");
  EXPECT_EQ(eleven[10], "a ver~indeed/10");
}

TEST(ThreadName, IsSetBeforeTheStartHook) {
  std::string seen;
  {
    const pool p{{.name = "cache", .on_worker_start = [&](std::size_t) {
                    char text[16] = "";
                    ::pthread_getname_np(::pthread_self(), text, sizeof text);
                    seen = text;
                  }}};
  }
  EXPECT_EQ(seen, "cache/0");
}

TEST(ThreadName, OfTheConstructingThreadStays) {
  char before[16] = "";
  ::pthread_getname_np(::pthread_self(), before, sizeof before);
  const pool p{{.name = "cache"}};
  char after[16] = "";
  ::pthread_getname_np(::pthread_self(), after, sizeof after);
  EXPECT_STREQ(before, after);
}

bool blocks(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

TEST(SignalMask, IsInheritedFromTheConstructingThread) {
  sigset_t usr1;
  sigset_t old;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &usr1, &old), 0);
  pool p;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &old, nullptr), 0);
  pool open;
  EXPECT_TRUE(support::on_worker(p, [] { return blocks(SIGUSR1); }));
  EXPECT_FALSE(support::on_worker(p, [] { return blocks(SIGUSR2); }));
  EXPECT_FALSE(support::on_worker(open, [] { return blocks(SIGUSR1); }));
  EXPECT_FALSE(blocks(SIGUSR1));
}

#endif

}  // namespace
