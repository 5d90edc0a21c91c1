// A worker counts as one until its thread has ended: what its thread_local objects ask of the pool
// when they end is answered at once.

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <system_error>
#include <utility>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::pool;

/// Does something when its thread ends.
struct last_words {
  std::function<void()> say;
  ~last_words() {
    if (say) say();
  }
};
thread_local last_words at_the_end;

/// What `ask` is answered at the end of a worker's thread, while the owner closes the pool.
template <class Ask> auto answer_at_the_end(Ask ask) {
  decltype(ask(std::declval<pool&>())) answer{};
  pool p{{.workers = 2, .buffer = 1}};
  EXPECT_FALSE(p.do_wait([&] { at_the_end.say = [&] { answer = ask(p); }; }));
  EXPECT_FALSE(p.close());  // or the test's timeout
  return answer;
}

TEST(ThreadEnd, WaitingWouldDeadlock) {
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.wait_idle(); }), errc::would_deadlock);
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.close(); }), errc::would_deadlock);
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.close_for(std::chrono::hours(1)); }),
            errc::would_deadlock);
}

TEST(ThreadEnd, SubmissionsAreRefused) {
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.try_do([] {}); }), errc::closed);
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.do_wait([] {}); }), errc::closed);
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.do_evict([] {}); }), errc::closed);
}

TEST(ThreadEnd, ObserversPurgeAndStopReturn) {
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.purge(); }), 0u);
  EXPECT_EQ(answer_at_the_end([](pool& p) { return p.stats().completed; }), 1u);
  EXPECT_TRUE(answer_at_the_end([](pool& p) {
    p.request_stop();
    return p.get_stop_token().stop_requested();
  }));
}

TEST(ThreadEnd, GroupRunsOnTheEndingThread) {
  EXPECT_EQ(answer_at_the_end([](pool& p) {
              int ran = 0;
              fanout::group g{p};
              for (int i = 0; i < 100; ++i) static_cast<void>(g.run([&] { ++ran; }));
              static_cast<void>(g.wait());
              return ran;
            }),
            100);
}

TEST(ThreadEnd, IdsOfJoinedWorkersAreNobodysAnyMore) {
  pool p{{.workers = 4}};
  p.close();
  for (int i = 0; i < 100; ++i) {  // threads get the ids of those that have ended
    std::error_code answer;
    std::jthread([&] { answer = p.close(); }).join();
    EXPECT_EQ(answer, errc::closed);
  }
}

}  // namespace
