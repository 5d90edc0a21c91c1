// close(stop_token): a drain that a second signal cuts short.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>

#include "support.hpp"

namespace {

using fanout::errc;
using fanout::ErrClosed;
using fanout::pool;
using support::gate;
using namespace std::chrono_literals;

/// A task that runs until its token fires.
auto until_stopped(gate& started) {
  return [&started](std::stop_token token) {
    started.open();
    support::wait_until([&] { return token.stop_requested(); });
  };
}

TEST(CloseByToken, DrainsAndSucceedsWhenTheTokenIsLeftAlone) {
  std::atomic<int> ran{0};
  std::stop_source cut;
  pool p{{.workers = 2}};
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(p.try_do([&] { ++ran; }));
  EXPECT_FALSE(p.close(cut.get_token()));
  EXPECT_EQ(ran, 100);
  EXPECT_FALSE(p.get_stop_token().stop_requested());
  EXPECT_EQ(p.close(cut.get_token()), ErrClosed);
}

TEST(CloseByToken, IsCloseWithATokenThatCannotStop) {
  bool ran = false;
  pool p;
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  EXPECT_FALSE(p.close(std::stop_token()));
  EXPECT_TRUE(ran);
}

TEST(CloseByToken, StopsDiscardsAndJoinsWhenTheTokenFires) {
  gate started;
  bool ran = false;
  std::stop_source cut;
  pool p;
  ASSERT_FALSE(p.try_do(until_stopped(started)));
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  started.wait();
  std::jthread second_signal([&] {
    support::wait_until([&] { return p.is_closed(); });
    cut.request_stop();
  });
  EXPECT_EQ(p.close(cut.get_token()), errc::canceled);
  EXPECT_FALSE(ran);
  EXPECT_EQ(p.stats().discarded, 1u);
}

TEST(CloseByToken, DrainsNothingWhenTheTokenHasFired) {
  gate started;
  bool ran = false;
  std::stop_source cut;
  cut.request_stop();
  pool p;
  ASSERT_FALSE(p.try_do(until_stopped(started)));
  ASSERT_FALSE(p.try_do([&] { ran = true; }));
  started.wait();
  EXPECT_EQ(p.close(cut.get_token()), errc::canceled);
  EXPECT_FALSE(ran);
}

TEST(CloseByToken, SucceedsWhenNothingWasLeftThoughTheTokenHasFired) {
  std::stop_source cut;
  cut.request_stop();
  pool p;
  EXPECT_FALSE(p.close(cut.get_token()));
}

TEST(CloseByToken, OfALaterCallerCutsTheDrainInForce) {
  gate started;
  std::stop_source cut;
  pool p;
  ASSERT_FALSE(p.try_do(until_stopped(started)));
  started.wait();
  std::error_code first;
  std::jthread closer([&] { first = p.close(); });
  support::wait_until([&] { return p.is_closed(); });
  std::jthread second_signal([&] { cut.request_stop(); });
  // Whichever of the two comes first, its answer names the token.
  const std::error_code second = p.close(cut.get_token());
  closer.join();
  EXPECT_TRUE((first == errc::canceled && second == ErrClosed) ||
              (first == ErrClosed && second == errc::canceled));
}

TEST(CloseByToken, NamesTheDeadlineOfALaterCallerThatCameFirst) {
  gate started;
  std::stop_source never;
  pool p;
  ASSERT_FALSE(p.try_do(until_stopped(started)));
  started.wait();
  gate closes;
  std::error_code first;
  ASSERT_FALSE(p.is_closed());
  std::jthread closer([&] { first = p.close(never.get_token()); });
  support::wait_until([&] { return p.is_closed(); });
  const std::error_code second = p.close_for(0s);
  closer.join();
  EXPECT_TRUE((first == errc::timed_out && second == ErrClosed) ||
              (first == ErrClosed && second == errc::timed_out));
}

TEST(CloseByToken, OnAWorkerClosesAndAnswersAtOnce) {
  std::stop_source never;
  pool p;
  EXPECT_EQ(support::on_worker(p, [&] { return p.close(never.get_token()); }),
            errc::would_deadlock);
  EXPECT_TRUE(p.is_closed());
  EXPECT_FALSE(p.close());
}

TEST(CloseByToken, MayFireInTheMiddleOfTheCall) {
  for (int round = 0; round < 200; ++round) {
    std::stop_source cut;
    pool p{{.workers = 2}};
    for (int i = 0; i < 5; ++i) ASSERT_FALSE(p.try_do([] {}));
    std::jthread second_signal([&] { cut.request_stop(); });
    const std::error_code answer = p.close(cut.get_token());
    const auto stats = p.stats();
    EXPECT_EQ(stats.accepted, stats.completed + stats.discarded);
    if (stats.discarded != 0) {
      EXPECT_EQ(answer, errc::canceled);
    }
  }
}

}  // namespace
