// Destroying a pool on its own worker is a diagnosed abort, never a hang.

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <stop_token>
#include <utility>

#include "support.hpp"

namespace {

using fanout::pool;

class DestroyOnWorkerDeathTest : public testing::Test {
 protected:
  DestroyOnWorkerDeathTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

constexpr auto message = "fanout.*victim";

[[noreturn]] void never() {
  support::gate closed;
  closed.wait();
  std::abort();
}

TEST_F(DestroyOnWorkerDeathTest, ByATaskAbortsWithAMessage) {
  EXPECT_EXIT(
      {
        auto owner = std::make_unique<pool>(fanout::options{.name = "victim"});
        support::gate ready;
        if (owner->try_do([&] {
              ready.wait();
              owner.reset();
              std::_Exit(0);
            })) {
          std::_Exit(0);
        }
        ready.open();
        never();
      },
      testing::KilledBySignal(SIGABRT), message);
}

TEST_F(DestroyOnWorkerDeathTest, ByTheLastOwnerInACaptureAbortsWithAMessage) {
  EXPECT_EXIT(
      {
        auto owner = std::make_shared<pool>(fanout::options{.name = "victim"});
        support::gate dropped;
        auto& p = *owner;
        if (p.try_do([owner, &dropped] { dropped.wait(); })) std::_Exit(0);
        owner.reset();
        dropped.open();
        never();
      },
      testing::KilledBySignal(SIGABRT), message);
}

TEST_F(DestroyOnWorkerDeathTest, OfAClosedPoolAbortsToo) {
  EXPECT_EXIT(
      {
        auto owner = std::make_unique<pool>(fanout::options{.name = "victim"});
        support::gate ready;
        if (owner->try_do([&] {
              ready.wait();
              static_cast<void>(owner->close());
              owner.reset();
              std::_Exit(0);
            })) {
          std::_Exit(0);
        }
        ready.open();
        never();
      },
      testing::KilledBySignal(SIGABRT), message);
}

TEST_F(DestroyOnWorkerDeathTest, InAHookAbortsToo) {
  EXPECT_EXIT(
      {
        std::unique_ptr<pool> owner;
        support::gate ready;
        owner = std::make_unique<pool>(
            fanout::options{.name = "victim", .on_worker_start = [&](std::size_t) {
                              ready.wait();
                              owner.reset();
                              std::_Exit(0);
                            }});
        ready.open();
        never();
      },
      testing::KilledBySignal(SIGABRT), message);
}

TEST_F(DestroyOnWorkerDeathTest, InAStopCallbackAbortsToo) {
  EXPECT_EXIT(
      {
        auto owner = std::make_unique<pool>(fanout::options{.name = "victim"});
        const std::stop_callback on_stop(owner->get_stop_token(), [&] {
          owner.reset();
          std::_Exit(0);
        });
        owner->request_stop();
      },
      testing::KilledBySignal(SIGABRT), message);
}

// The inner pool's task waits for the outer pool, whose task destroys the inner one.
TEST_F(DestroyOnWorkerDeathTest, InACircleOfPoolsAbortsToo) {
  EXPECT_EXIT(
      {
        using support::watched_pool;
        watched_pool outer{{.name = "outer"}};
        auto inner = std::make_unique<watched_pool>(fanout::options{.name = "victim"});
        if (outer.try_do([&] {
              support::wait_until([] { return support::watched_sync::blocked == 1; });
              inner.reset();
              std::_Exit(0);
            })) {
          std::_Exit(0);
        }
        if (inner->try_do([&] { outer.close(); })) std::_Exit(0);
        never();
      },
      testing::KilledBySignal(SIGABRT), message);
}

TEST(DestroyOnWorker, OfAnotherPoolIsAllowed) {
  int ran = 0;
  pool outer;
  support::on_worker(outer, [&] {
    auto inner = std::make_unique<pool>();
    if (inner->try_do([&] { ++ran; })) return 1;
    inner.reset();
    return 0;
  });
  EXPECT_EQ(ran, 1);
}

}  // namespace
