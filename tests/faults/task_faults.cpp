// Tasks, handlers, hooks and contexts that throw.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "faults.hpp"

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

// --- What is thrown, and whether it arrives as what it was

struct an_int {
  static void raise() { throw 42; }
  static bool arrives(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (int value) {
      return value == 42;
    } catch (...) {
      return false;
    }
  }
};

struct a_text {
  static void raise() { throw "no such key"; }
  static bool arrives(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const char* text) {
      return text == std::string("no such key");
    } catch (...) {
      return false;
    }
  }
};

struct a_bad_alloc {
  static void raise() { throw std::bad_alloc(); }
  static bool arrives(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::bad_alloc&) {
      return true;
    } catch (...) {
      return false;
    }
  }
};

struct a_mebibyte {
  struct object {
    std::array<char, 1024 * 1024> bytes{};
  };
  static void raise() {
    static const object large = [] {
      object filled;
      filled.bytes.fill('x');
      return filled;
    }();
    throw large;
  }
  static bool arrives(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const object& large) {
      return large.bytes.front() == 'x' && large.bytes.back() == 'x';
    } catch (...) {
      return false;
    }
  }
};

struct a_nested {
  static void raise() {
    try {
      throw std::runtime_error("cause");
    } catch (...) {
      std::throw_with_nested(std::logic_error("consequence"));
    }
  }
  static bool arrives(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::logic_error& outer) {
      try {
        std::rethrow_if_nested(outer);
      } catch (const std::runtime_error& inner) {
        return inner.what() == std::string("cause");
      }
      return false;
    } catch (...) {
      return false;
    }
  }
};

struct bomb {
  bomb() = default;
  bomb(const bomb&) = default;
  ~bomb() noexcept(false) { throw std::runtime_error("from the destructor"); }
};

void raise_a_bomb() {
#if defined(FANOUT_TEST_LSAN)
  const __lsan::ScopedDisabler object_is_lost;  // the runtime frees it after the destructor
#endif
  throw bomb();
}

// --- Where it arrives

std::string next_task_runs(pool& p) {
  std::atomic<bool> ran = false;
  if (p.do_wait([&] { ran = true; })) return "the next task is refused";
  p.close();
  return ran ? "next task runs" : "the next task does not run";
}

template <class Kind> std::string at_handler() {
  std::atomic<int> right{0};
  pool p{
      {.on_error = [&](const error_info& info) { right += Kind::arrives(info.error) ? 1 : 100; }}};
  if (p.try_do([] { Kind::raise(); })) return "refused";
  const auto next = next_task_runs(p);
  if (p.stats().failed != 1) return "not counted as failed";
  return (right == 1 ? "reported, " : "not reported as it was, ") + next;
}

template <class Kind> std::string at_default_handler() {
  pool p;
  if (p.try_do([] { Kind::raise(); })) return "refused";
  return next_task_runs(p);
}

template <class Kind> std::string at_future() {
  pool p;
  auto result = p.submit([] { Kind::raise(); });
  // First: ThreadSanitizer does not see the count by which threads share an exception.
  const auto next = next_task_runs(p);
  bool right = false;
  try {
    result.get();
  } catch (...) {
    right = Kind::arrives(std::current_exception());
  }
  return (right ? "get() throws it, " : "get() does not throw it, ") + next;
}

template <class Kind> std::string at_group() {
  pool p;
  bool right = false;
  {
    fanout::group g{p};
    if (g.try_do([] { Kind::raise(); })) return "refused";
    try {
      g.wait();
    } catch (...) {
      right = Kind::arrives(std::current_exception());
    }
  }
  return (right ? "wait() throws it, " : "wait() does not throw it, ") + next_task_runs(p);
}

template <class Kind> bool add_thrown(const std::string& what) {
  return faults::add(
      {{"task, on_error", "throws " + what, "reported, next task runs", at_handler<Kind>},
       {"task, no handler", "throws " + what, "next task runs, 1 line on stderr",
        at_default_handler<Kind>},
       {"task of submit", "throws " + what, "get() throws it, next task runs", at_future<Kind>},
       {"task of a group", "throws " + what, "wait() throws it, next task runs", at_group<Kind>}});
}

// --- Handlers, hooks, contexts

#if defined(_LIBCPP_VERSION)
constexpr auto bomb_reported = "SIGABRT", bomb_alone = bomb_reported;  // this runtime terminates
#else
constexpr auto bomb_reported = "reported, next task runs, 1 line on stderr",
               bomb_alone = "next task runs, 2 lines on stderr";
#endif

std::string bomb_at_handler() {
  std::atomic<int> reports{0};
  pool p{{.on_error = [&](const error_info&) { ++reports; }}};
  if (p.try_do(raise_a_bomb)) return "refused";
  const auto next = next_task_runs(p);
  return reports == 1 ? "reported, " + next : "not reported, " + next;
}

std::string bomb_alone_() {
  pool p;
  if (p.try_do(raise_a_bomb)) return "refused";
  return next_task_runs(p);
}

template <class Handler> std::string throwing_handler(Handler handler) {
  pool p{{.on_error = handler}};
  if (p.try_do([] { throw std::runtime_error("of the task"); })) return "refused";
  return next_task_runs(p);
}

std::string throwing_hooks() {
  pool p{{.on_worker_start = [](std::size_t) { throw std::runtime_error("at start"); },
          .on_worker_stop = [](std::size_t) { throw 1; }}};
  return next_task_runs(p);
}

std::string closed_stderr() {
  const int kept = ::dup(STDERR_FILENO);
  ::close(STDERR_FILENO);
  std::string next;
  {
    pool p;
    if (p.try_do([] { throw 1; })) return "refused";
    next = next_task_runs(p);
  }
  ::dup2(kept, STDERR_FILENO);
  return next;
}

std::string full_stderr() {
  const int kept = ::dup(STDERR_FILENO);
  const int full = ::open("/dev/full", O_WRONLY);
  if (full < 0) return "skipped: no /dev/full";
  ::dup2(full, STDERR_FILENO);
  std::string next;
  {
    pool p;
    if (p.try_do([] { throw 1; })) return "refused";
    next = next_task_runs(p);
  }
  ::dup2(kept, STDERR_FILENO);
  return next;
}

struct closed_door {
  static closed_door capture() noexcept { return {}; }
  int enter() const { throw std::runtime_error("no way in"); }
};
struct closed_door_policy : fanout::default_policy {
  using context = closed_door;
};

std::string throwing_context() {
  std::atomic<int> reports{0};
  std::atomic<int> runs{0};
  fanout::basic_pool<closed_door_policy> p{{.on_error = [&](const error_info&) { ++reports; }}};
  for (int i = 0; i < 10; ++i) {
    if (p.try_do([&] { ++runs; })) return "refused";
  }
  p.close();
  return runs == 0 && reports == 10 && p.stats().failed == 10 ? "10 of 10 reported, none ran"
                                                              : "wrong counts";
}

const bool added = [] {
  add_thrown<an_int>("an int");
  add_thrown<a_text>("a const char*");
  add_thrown<a_bad_alloc>("bad_alloc");
  add_thrown<a_mebibyte>("an object of 1 MiB");
  add_thrown<a_nested>("an exception with another nested");
  return faults::add(
      {{"task, on_error", "throws an object whose destructor throws", bomb_reported,
        bomb_at_handler},
       {"task, no handler", "throws an object whose destructor throws", bomb_alone, bomb_alone_},
       {"on_error", "throws", "next task runs, 1 line on stderr",
        [] { return throwing_handler([](const error_info&) { throw std::bad_alloc(); }); }},
       {"on_error", "throws what is no std::exception", "next task runs, 1 line on stderr",
        [] { return throwing_handler([](const error_info&) { throw 1; }); }},
       {"on_error", "rethrows what it was given", "next task runs, 1 line on stderr",
        [] {
          return throwing_handler(
              [](const error_info& info) { std::rethrow_exception(info.error); });
        }},
       {"on_worker_start, on_worker_stop", "throw", "next task runs, 2 lines on stderr",
        throwing_hooks},
       {"task, no handler", "throws, and stderr is closed", "next task runs", closed_stderr},
       {"task, no handler", "throws, and stderr is full", "next task runs", full_stderr},
       {"enter() of a context", "throws for each of 10 tasks", "10 of 10 reported, none ran",
        throwing_context}});
}();

}  // namespace
