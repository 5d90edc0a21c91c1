// A failing task takes nothing down, and its failure is reported with its reason and its place.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <latch>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define FANOUT_TEST_LSAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FANOUT_TEST_LSAN
#endif
#endif
#if defined(FANOUT_TEST_LSAN)
#include <sanitizer/lsan_interface.h>
#endif

namespace {

using fanout::error_info;
using fanout::pool;

/// Runs `task` on a pool whose handler is `handler`, and then another task. Tells whether that ran.
template <class Task, class Handler> bool survives(Task task, Handler handler) {
  std::atomic<bool> next = false;
  pool p{{.on_error = handler}};
  if (p.try_do(std::move(task))) return false;
  if (p.try_do([&] { next = true; })) return false;
  p.close();
  const auto stats = p.stats();
  return next && stats.failed == 1 && stats.completed == 1;
}

/// Whether a thrown T reaches the handler as a T equal to `thrown`.
template <class T> bool reports(const T& thrown) {
  // Clang finds a rethrown pointer at the wrong place when it is caught by reference.
  using caught_as = std::conditional_t<std::is_pointer_v<T>, T, const T&>;
  bool equal = false;
  const auto handler = [&](const error_info& info) {
    try {
      std::rethrow_exception(info.error);
    } catch (caught_as caught) {
      equal = caught == thrown;
    } catch (...) {
    }
  };
  return survives([&thrown] { throw thrown; }, handler) && equal;
}

/// What is written to stderr while `f` runs.
template <class F> std::string written_by(F f) {
  testing::internal::CaptureStderr();
  f();
  return testing::internal::GetCapturedStderr();
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::ptrdiff_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

// --- What is reported

TEST(OnError, GetsTheReason) {
  std::string reason;
  const auto handler = [&](const error_info& info) {
    try {
      std::rethrow_exception(info.error);
    } catch (const std::exception& e) {
      reason = e.what();
    }
  };
  EXPECT_TRUE(survives([] { throw std::runtime_error("no such key"); }, handler));
  EXPECT_EQ(reason, "no such key");
}

TEST(OnError, GetsWhatIsNoStdException) {
  struct custom {
    int code;
    bool operator==(const custom&) const = default;
  };
  EXPECT_TRUE(reports(42));
  EXPECT_TRUE(reports(std::string("text")));
  EXPECT_TRUE(reports(custom{7}));
  EXPECT_TRUE(reports<const char*>("literal"));
  EXPECT_TRUE(reports<const char*>(nullptr));
  EXPECT_TRUE(reports(std::make_shared<int>(1)));
}

TEST(OnError, GetsLargeObjects) {
  using large = std::array<char, 1 << 20>;
  const auto thrown = std::make_unique<large>();
  thrown->fill('x');
  EXPECT_TRUE(reports(*thrown));
}

TEST(OnError, GetsBadAlloc) {
  bool caught = false;
  const auto handler = [&](const error_info& info) {
    try {
      std::rethrow_exception(info.error);
    } catch (const std::bad_alloc&) {
      caught = true;
    }
  };
  EXPECT_TRUE(survives([] { throw std::bad_alloc(); }, handler));
  EXPECT_TRUE(caught);
}

TEST(OnError, GetsThePoolByItsName) {
  std::string name;
  const char* where = nullptr;
  pool p{{.name = "cache", .on_error = [&](const error_info& info) {
            name = info.pool;
            where = info.pool.data();
          }}};
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  p.close();
  EXPECT_EQ(name, "cache");
  EXPECT_EQ(where, p.name().data());  // lives as long as the pool
}

// Every worker throws once: all of them are inside their task before one leaves it.
TEST(OnError, GetsTheWorkerThatFailed) {
  constexpr std::size_t workers = 4;
  std::mutex mutex;
  std::vector<std::pair<std::size_t, std::thread::id>> started;
  std::vector<std::pair<std::size_t, std::thread::id>> failed;
  const auto note = [&](auto& in, std::size_t worker) {
    const std::lock_guard hold(mutex);
    in.emplace_back(worker, std::this_thread::get_id());
  };
  std::latch all(workers);
  pool p{{.workers = workers,
          .on_error = [&](const error_info& info) { note(failed, info.worker); },
          .on_worker_start = [&](std::size_t worker) { note(started, worker); }}};
  for (std::size_t i = 0; i < workers; ++i) {
    ASSERT_FALSE(p.try_do([&] {
      all.arrive_and_wait();
      throw 1;
    }));
  }
  p.close();
  std::sort(started.begin(), started.end());
  std::sort(failed.begin(), failed.end());
  EXPECT_EQ(failed.size(), workers);
  EXPECT_EQ(failed, started);
}

TEST(OnError, GetsThePlaceOfEachSubmission) {
  std::vector<fanout::source_location> places;
  pool p{{.buffer = 4, .on_error = [&](const error_info& info) { places.push_back(info.where); }}};
  const auto fails = [] { throw 1; };
  const auto here = fanout::source_location::current();
  ASSERT_FALSE(p.try_do(fails));
  ASSERT_FALSE(p.do_wait(fails));
  ASSERT_FALSE(p.do_wait(fails, std::stop_token()));
  ASSERT_FALSE(p.try_do_for(std::chrono::hours(1), fails));
  ASSERT_FALSE(p.wait_idle());
  ASSERT_FALSE(p.try_do_until(std::chrono::steady_clock::now(), fails));
  const std::vector bulk(2, fails);
  ASSERT_FALSE(p.try_do_bulk(bulk).error);
  p.close();
  ASSERT_EQ(places.size(), 7u);
  for (const auto& place : places) {
    EXPECT_STREQ(place.file_name(), here.file_name());
    EXPECT_STREQ(place.function_name(), here.function_name());
  }
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(places[i].line(), here.line() + 1 + i);
  EXPECT_EQ(places[4].line(), here.line() + 6);
  EXPECT_EQ(places[5].line(), here.line() + 8);
  EXPECT_EQ(places[6].line(), here.line() + 8);
}

TEST(OnError, GetsTheErrorOfABoxedTask) {
  std::array<char, 500> ballast{};
  int calls = 0;
  EXPECT_TRUE(survives([ballast] { throw ballast[0]; }, [&](const error_info&) { ++calls; }));
  EXPECT_EQ(calls, 1);
}

// --- How it is called

TEST(OnError, RunsInsideTheCatchBlock) {
  bool same = false;
  const auto handler = [&](const error_info& info) {
    same = std::current_exception() != nullptr && std::current_exception() == info.error;
  };
  EXPECT_TRUE(survives([] { throw 1; }, handler));
  EXPECT_TRUE(same);
}

TEST(OnError, MayRethrowTheException) {
  int caught = 0;
  const auto handler = [&](const error_info&) {
    try {
      throw;
    } catch (int i) {
      caught = i;
    }
  };
  EXPECT_TRUE(survives([] { throw 5; }, handler));
  EXPECT_EQ(caught, 5);
}

TEST(OnError, RunsOncePerFailureAndNeverOtherwise) {
  int calls = 0;
  pool p{{.on_error = [&](const error_info&) { ++calls; }}};
  for (int i = 0; i < 100; ++i) {
    ASSERT_FALSE(p.try_do([i] {
      if (i % 3 == 0) throw i;
    }));
  }
  p.close();
  EXPECT_EQ(calls, 34);
  EXPECT_EQ(p.stats().failed, 34u);
  EXPECT_EQ(p.stats().completed, 66u);
}

TEST(OnError, RunsOnTheWorker) {
  std::thread::id ran;
  std::thread::id reported;
  EXPECT_TRUE(survives(
      [&] {
        ran = std::this_thread::get_id();
        throw 1;
      },
      [&](const error_info&) { reported = std::this_thread::get_id(); }));
  EXPECT_EQ(ran, reported);
}

// Two handlers that wait for each other: one at a time they would never return.
TEST(OnError, RunsConcurrentlyOnDifferentWorkers) {
  std::latch both(2);
  pool p{{.workers = 2, .on_error = [&](const error_info&) { both.arrive_and_wait(); }}};
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  ASSERT_FALSE(p.try_do([] { throw 2; }));
  p.close();
  EXPECT_EQ(p.stats().failed, 2u);
}

TEST(OnError, MaySubmit) {
  std::atomic<int> again{0};
  pool* self = nullptr;
  std::error_code err;
  pool p{{.on_error = [&](const error_info&) { err = self->try_do([&] { ++again; }); }}};
  self = &p;
  ASSERT_FALSE(p.try_do([] { throw 1; }));
  ASSERT_FALSE(p.wait_idle());
  EXPECT_FALSE(err);
  EXPECT_EQ(again, 1);
}

TEST(OnError, ReturnsBeforeWaitIdleDoes) {
  int plain = 0;  // unsynchronised: ThreadSanitizer is the judge
  pool p{{.on_error = [&](const error_info&) { ++plain; }}};
  for (int i = 1; i <= 200; ++i) {
    ASSERT_FALSE(p.try_do([] { throw 1; }));
    ASSERT_FALSE(p.wait_idle());
    ASSERT_EQ(plain, i);
  }
}

TEST(OnError, MayKeepTheErrorAfterThePool) {
  std::exception_ptr kept;
  EXPECT_TRUE(survives([] { throw std::runtime_error("kept"); },
                       [&](const error_info& info) { kept = info.error; }));
  EXPECT_THROW(std::rethrow_exception(kept), std::runtime_error);
}

// --- When the handler fails

TEST(OnError, WhatItThrowsIsWrittenToStderrAndSwallowed) {
  int calls = 0;
  const auto text = written_by([&] {
    pool p{{.name = "cache", .on_error = [&](const error_info&) {
              ++calls;
              throw std::runtime_error("handler broke");
            }}};
    for (int i = 0; i < 3; ++i) ASSERT_FALSE(p.try_do([] { throw 1; }));
    p.close();
    EXPECT_EQ(p.stats().failed, 3u);
  });
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(lines_of(text), 3) << text;
  EXPECT_TRUE(holds(text, "handler broke")) << text;
  EXPECT_TRUE(holds(text, "cache")) << text;
  EXPECT_TRUE(holds(text, "on_error")) << text;
}

TEST(OnError, MayThrowWhatIsNoStdException) {
  const auto text = written_by(
      [] { EXPECT_TRUE(survives([] { throw 1; }, [](const error_info&) { throw 2; })); });
  EXPECT_EQ(lines_of(text), 1) << text;
}

TEST(OnError, MayRethrowOutOfItself) {
  const auto text = written_by([] {
    EXPECT_TRUE(survives([] { throw std::runtime_error("again"); },
                         [](const error_info& info) { std::rethrow_exception(info.error); }));
  });
  EXPECT_TRUE(holds(text, "again")) << text;
}

// --- The exception object

struct bomb {
  bomb() = default;
  bomb(const bomb&) = default;
  ~bomb() noexcept(false) { throw std::runtime_error("from the destructor"); }
};

void throw_a_bomb() {
#if defined(FANOUT_TEST_LSAN)
  const __lsan::ScopedDisabler object_is_lost;  // the runtime frees it after the destructor
#endif
  throw bomb();
}

TEST(OnError, DestructorOfTheExceptionObjectMayThrow) {
#if defined(_LIBCPP_VERSION)
  GTEST_SKIP() << "this runtime terminates";
#endif
  int calls = 0;
  static_cast<void>(written_by(
      [&] { EXPECT_TRUE(survives(throw_a_bomb, [&](const error_info&) { ++calls; })); }));
  EXPECT_EQ(calls, 1);
}

TEST(DefaultHandler, SurvivesADestructorOfTheExceptionObjectThatThrows) {
#if defined(_LIBCPP_VERSION)
  GTEST_SKIP() << "this runtime terminates";
#endif
  const auto text = written_by([&] { EXPECT_TRUE(survives(throw_a_bomb, nullptr)); });
  EXPECT_TRUE(holds(text, "on_error_test.cpp")) << text;
}

TEST(OnError, ExceptionObjectIsDestroyedBeforeCloseReturns) {
  struct watched {
    std::shared_ptr<int> held;
  };
  const auto held = std::make_shared<int>(0);
  EXPECT_TRUE(survives([held] { throw watched{held}; }, [](const error_info&) {}));
  EXPECT_EQ(held.use_count(), 1);
}

// --- No handler

/// What the pool writes about a task that throws `reason`, and where it was submitted.
template <class T> std::string default_report(const T& reason, fanout::source_location& where) {
  return written_by([&] {
    pool p{{.name = "cache"}};
    where = fanout::source_location::current();
    if (p.try_do([&reason] { throw reason; }, where)) std::abort();
    p.close();
  });
}

TEST(DefaultHandler, WritesOneLineWithReasonPoolWorkerAndPlace) {
  fanout::source_location where;
  const auto text = default_report(std::runtime_error("no such key"), where);
  ASSERT_EQ(lines_of(text), 1) << text;
  EXPECT_EQ(text.back(), '\n');
  EXPECT_TRUE(holds(text, "no such key")) << text;
  EXPECT_TRUE(holds(text, "cache")) << text;
  EXPECT_TRUE(holds(text, "worker 0")) << text;
  EXPECT_TRUE(holds(text, where.file_name())) << text;
  EXPECT_TRUE(holds(text, std::to_string(where.line()))) << text;
}

TEST(DefaultHandler, WritesTheReasonOfTexts) {
  fanout::source_location where;
  EXPECT_TRUE(holds(default_report<const char*>("a literal", where), "a literal"));
  EXPECT_TRUE(holds(default_report(std::string("a string"), where), "a string"));
}

TEST(DefaultHandler, WritesOneLineForWhatHasNoText) {
  fanout::source_location where;
  EXPECT_EQ(lines_of(default_report(42, where)), 1);
  EXPECT_EQ(lines_of(default_report<const char*>(nullptr, where)), 1);
  EXPECT_EQ(lines_of(default_report(std::make_shared<int>(1), where)), 1);
}

TEST(DefaultHandler, WritesOneLineForReasonsOfSeveralOrVeryLong) {
  fanout::source_location where;
  EXPECT_EQ(lines_of(default_report(std::string("two\nlines\n"), where)), 1);
  const auto text = default_report(std::string(100000, 'x'), where);
  EXPECT_EQ(lines_of(text), 1);
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(text.size(), 2048u);  // as long as it may be
}

std::string report_of_a_file_with_a_long_path();  // below, under another name

TEST(DefaultHandler, WritesThePlaceInAFileWithALongPath) {
  const auto text = report_of_a_file_with_a_long_path();
  EXPECT_EQ(lines_of(text), 1) << text;
  EXPECT_TRUE(holds(text, "deep/deep.cpp:4711")) << text;
  EXPECT_TRUE(holds(text, "no such key")) << text;
}

TEST(DefaultHandler, WritesOneLinePerFailure) {
  const auto text = written_by([] {
    pool p{{.workers = 4}};
    for (int i = 0; i < 50; ++i) ASSERT_FALSE(p.try_do([] { throw std::runtime_error("once"); }));
    p.close();
  });
  EXPECT_EQ(lines_of(text), 50);
  std::size_t whole = 0;
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    whole += text.compare(at, 7, "fanout:") == 0 ? 1u : 0u;
  }
  EXPECT_EQ(whole, 50u) << text;
}

TEST(DefaultHandler, WritesNothingWhenNothingFails) {
  EXPECT_EQ(written_by([] {
              pool p;
              ASSERT_FALSE(p.try_do([] {}));
              p.close();
            }),
            "");
}

// Last, because it gives the rest of this file another name.
std::string report_of_a_file_with_a_long_path() {
  return written_by([] {
    pool p;
    const auto fails = [] { throw std::runtime_error("no such key"); };
    // clang-format off
#line 4711 "/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep.cpp"
    if (p.try_do(fails)) std::abort();
    // clang-format on
  });
}

}  // namespace
