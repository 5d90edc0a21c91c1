// A forked child has none of the workers: what it asks of its parent's pools is answered at once.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "sanitizers.hpp"
#include "support.hpp"

namespace {

using fanout::errc;
using fanout::group;
using fanout::pool;
using support::gate;
using support::occupied;
using namespace std::chrono_literals;

/// How a child ended in which `child` returned its exit status: 0 is success, a line number tells
/// which claim failed. A child that hangs is killed.
template <class Child> int status_of(Child child) {
  const ::pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(20);
    ::_exit(child());
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
#define CLAIM(holds) \
  if (!(holds)) return __LINE__ % 250 + 1

template <class T> std::error_code refusal_in(std::future<T> f) {
  try {
    f.get();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
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

/// What a child claims of a pool that was made before the fork.
int refuses_everything(pool& p) {
  CLAIM(p.is_closed());
  CLAIM(p.try_do([] {}) == errc::closed);
  CLAIM(p.do_wait([] {}) == errc::closed);
  CLAIM(p.do_wait([] {}, std::stop_source().get_token()) == errc::closed);
  CLAIM(p.try_do_for(1h, [] {}) == errc::closed);
  CLAIM(p.do_evict([] {}) == errc::closed);
  std::vector<std::function<void()>> many(3, [] {});
  CLAIM(p.try_do_bulk(many).error == errc::closed);
  CLAIM(refusal_in(p.submit([] {})) == errc::closed);
  CLAIM(refusal_in(p.submit_wait([] {})) == errc::closed);
  std::error_code scheduled;
  [](pool& on, std::error_code& to) -> detached { to = co_await on.schedule(); }(p, scheduled);
  CLAIM(scheduled == errc::closed);
  CLAIM(p.wait_idle() == errc::closed);
  CLAIM(p.wait_idle_for(1h) == errc::closed);
  CLAIM(p.close() == errc::closed);
  CLAIM(p.close_for(1h) == errc::closed);
  CLAIM(p.close(std::stop_source().get_token()) == errc::closed);
  CLAIM(p.purge() == 0);
  p.request_stop();
  CLAIM(p.stats().workers == p.workers());
  return 0;
}

TEST(Fork, ChildIsRefusedEverythingAtOnce) {
  pool p{{.workers = 2}};
  p.wait_idle();
  EXPECT_EQ(status_of([&] { return refuses_everything(p); }), 0);
  EXPECT_EQ(p.submit([] { return 7; }).get(), 7);  // the parent goes on
}

TEST(Fork, WhileTasksRunAndWaitAndOthersAreBlocked) {
  std::optional<pool> p(std::in_place, fanout::options{.workers = 2, .buffer = 2});
  auto destroyed = std::make_unique<std::atomic<int>>(0);
  {
    std::optional<occupied<pool>> busy(*p);
    const auto count = [&](int*) { ++*destroyed; };
    int nothing = 0;
    for (int i = 0; i < 2; ++i) {
      ASSERT_FALSE(p->try_do([held = std::shared_ptr<int>(&nothing, count)] {}));
    }
    std::jthread blocked([&] { EXPECT_FALSE(p->do_wait([] {})); });
    std::jthread waiting([&] { EXPECT_FALSE(p->wait_idle()); });
    const int status = status_of([&] {
      const int claim = refuses_everything(*p);
      if (claim != 0) return claim;
      p.reset();               // returns at once
      CLAIM(*destroyed == 0);  // what waited is the parent's
      return 0;
    });
    EXPECT_EQ(status, 0);
    busy.reset();
  }
  EXPECT_FALSE(p->close());
  EXPECT_EQ(*destroyed, 2);
}

TEST(Fork, ChildLeavesTheScopeOfAPoolWhoeverHoldsItsLocks) {
  for (int round = 0; round < 30; ++round) {
    std::optional<pool> p(std::in_place, fanout::options{.workers = 2, .buffer = 4});
    std::jthread submits([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        static_cast<void>(p->try_do_for(100us, [] {}));
        static_cast<void>(p->wait_idle_for(10us));
        group g{*p};
        static_cast<void>(g.run([] {}));
        g.wait();
      }
    });
    EXPECT_EQ(status_of([&] {
                const int claim = refuses_everything(*p);
                p.reset();
                return claim;
              }),
              0);
  }
}

TEST(Fork, GroupMadeBeforeAnswersCanceledAndEnds) {
  pool p;
  std::optional<occupied<pool>> busy(p);
  std::optional<group> g(p);
  int ran = 0;
  ASSERT_FALSE(g->try_do([&] { ++ran; }));
  EXPECT_EQ(status_of([&] {
              CLAIM(g->try_do([] {}) == errc::canceled);
              CLAIM(g->run([] {}) == errc::canceled);
              CLAIM(g->wait() == errc::canceled);
              CLAIM(g->wait_for(1h) == errc::canceled);
              g->request_stop();
              g.reset();
              CLAIM(ran == 0);
              return 0;
            }),
            0);
  EXPECT_FALSE(g->wait());
  EXPECT_EQ(ran, 1);
}

TEST(Fork, GroupMadeAfterIsAsOnAClosedPool) {
  pool p;
  occupied busy(p);
  EXPECT_EQ(status_of([&] {
              int ran = 0;
              {
                group after{p};
                CLAIM(!after.try_do([&] { ++ran; }));
                for (int i = 0; i < 100; ++i) CLAIM(!after.run([&] { ++ran; }));
                CLAIM(!after.wait());
              }
              CLAIM(ran == 101);
              return 0;
            }),
            0);
}

TEST(Fork, NewPoolInTheChildIsOrdinary) {
  if (support::has_thread_sanitizer) GTEST_SKIP() << "it lets a forked child start no thread";
  pool p;
  EXPECT_EQ(
      status_of([&] {
        pool own{{.workers = 2}};
        CLAIM(own.submit([] { return 7; }).get() == 7);
        CLAIM(!own.wait_idle());
        // And a grandchild is refused by both.
        CLAIM(status_of([&] { return refuses_everything(own) + refuses_everything(p); }) == 0);
        CLAIM(!own.close());
        return 0;
      }),
      0);
}

TEST(Fork, TaskMayForkAndItsChildLeave) {
  pool p;
  for (const bool exits : {false, true}) {
    // It looks for leaks at the exit, and the stacks of the parent's threads are not there.
    if (exits && support::has_address_sanitizer) continue;
    const int status = support::on_worker(p, [&] {
      return status_of([&] {
        const int claim = refuses_everything(p);
        if (claim == 0 && exits) std::exit(0);
        return claim;
      });
    });
    EXPECT_EQ(status, 0);
  }
}

pool& at_namespace_scope() {
  static pool the{{.name = "static", .workers = 2}};
  return the;
}

TEST(Fork, ChildMayExitThoughAPoolHasStaticStorage) {
  at_namespace_scope().wait_idle();
  EXPECT_EQ(status_of([]() -> int { std::exit(0); }), 0);
  EXPECT_EQ(at_namespace_scope().submit([] { return 7; }).get(), 7);
}

}  // namespace
