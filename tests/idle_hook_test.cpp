// options::on_worker_idle: one call for all that a worker ran since it last found nothing.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::errc;
using fanout::pool;

TEST(IdleHook, IsCalledOnceAfterARunOfTasks) {
  std::atomic<int> calls{0};
  std::atomic<int> ran{0};
  int ran_before = -1;
  pool p{{.on_worker_idle = [&](std::size_t worker) {
    EXPECT_EQ(worker, 0u);
    ran_before = ran;
    ++calls;
  }}};
  support::occupied busy(p);
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  busy.release();
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(ran_before, 10);
  ASSERT_FALSE(p.try_do([] {}));
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(calls, 2);
}

TEST(IdleHook, IsNotCalledWithoutATask) {
  std::atomic<int> calls{0};
  {
    pool p{{.workers = 3, .on_worker_idle = [&](std::size_t) { ++calls; }}};
    EXPECT_FALSE(p.wait_idle());
  }
  EXPECT_EQ(calls, 0);
}

TEST(IdleHook, ComesBeforeTheWorkerStopsAndClosingWaitsForIt) {
  std::vector<std::string> story;  // unsynchronised: one thread writes, and is joined
  pool p{{.on_worker_stop = [&](std::size_t) { story.emplace_back("stop"); },
          .on_worker_idle = [&](std::size_t) { story.emplace_back("idle"); }}};
  ASSERT_FALSE(p.try_do([&] { story.emplace_back("task"); }));
  EXPECT_FALSE(p.close());
  EXPECT_EQ(story, (std::vector<std::string>{"task", "idle", "stop"}));
}

TEST(IdleHook, IsWaitedForByWaitIdle) {
  support::gate entered;
  support::gate go;
  std::atomic<bool> done = false;
  pool p{{.on_worker_idle = [&](std::size_t) {
    entered.open();
    go.wait();
    done = true;
  }}};
  ASSERT_FALSE(p.try_do([] {}));
  entered.wait();
  EXPECT_EQ(p.wait_idle_for(1ms), errc::timed_out);
  EXPECT_EQ(p.stats().completed, 1u);
  go.open();
  EXPECT_FALSE(p.wait_idle());
  EXPECT_TRUE(done);
}

TEST(IdleHook, MaySubmitAndIsCalledForThatToo) {
  std::atomic<int> calls{0};
  std::atomic<int> ran{0};
  pool* self = nullptr;
  pool p{{.on_worker_idle = [&](std::size_t) {
    if (++calls == 1) {
      EXPECT_FALSE(self->try_do([&] { ++ran; }));
    }
  }}};
  self = &p;
  ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(calls, 2);
}

TEST(IdleHook, HoldsNoTaskUp) {
  support::gate entered;
  support::gate go;
  std::atomic<int> calls{0};
  pool p{{.workers = 2, .on_worker_idle = [&](std::size_t) {
            if (++calls > 1) return;
            entered.open();
            go.wait();
          }}};
  ASSERT_FALSE(p.try_do([] {}));
  entered.wait();
  support::gate ran;
  ASSERT_FALSE(p.try_do([&] { ran.open(); }));
  ran.wait();  // on the other worker, or the test's timeout
  go.open();
}

TEST(IdleHook, MayNotBlockOnItsPool) {
  std::error_code waited;
  std::error_code blocked;
  std::error_code closed;
  pool* self = nullptr;
  {
    pool p{{.buffer = 1, .on_worker_idle = [&](std::size_t) {
              if (waited) return;
              waited = self->wait_idle();
              EXPECT_FALSE(self->try_do([] {}));
              blocked = self->do_wait([] {});
              closed = self->close();
            }}};
    self = &p;
    ASSERT_FALSE(p.try_do([] {}));
    support::wait_until([&] { return p.is_closed(); });
  }
  EXPECT_EQ(waited, errc::would_deadlock);
  EXPECT_EQ(blocked, errc::would_deadlock);
  EXPECT_EQ(closed, errc::would_deadlock);
}

TEST(IdleHook, ThrowIsWrittenToStderrAndGoesNoFurther) {
  testing::internal::CaptureStderr();
  {
    pool p{{.name = "hooked",
            .on_worker_idle = [](std::size_t) { throw std::runtime_error("no disk"); }}};
    ASSERT_FALSE(p.try_do([] {}));
    EXPECT_FALSE(p.wait_idle());
    ASSERT_FALSE(p.try_do([] {}));
  }
  const std::string line = "fanout: pool \"hooked\", worker 0: on_worker_idle threw: no disk\n";
  EXPECT_EQ(testing::internal::GetCapturedStderr(), line + line);
}

TEST(IdleHook, ComesAlsoAfterATaskThatFailed) {
  std::atomic<int> calls{0};
  pool p{{.on_error = [](const fanout::error_info&) {},
          .on_worker_idle = [&](std::size_t) { ++calls; }}};
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  EXPECT_FALSE(p.wait_idle());
  EXPECT_EQ(calls, 1);
}

}  // namespace
