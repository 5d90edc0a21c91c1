// Threads that do not start, memory that is not there, copies that throw.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>

#include "../count_allocations.hpp"
#include "../fail_thread_start.hpp"
#include "faults.hpp"

namespace {

using fanout::pool;
using faults::fault;
using support::allocations;

constexpr auto not_replaceable = "skipped: the operator new of this runtime stays";

bool works(fanout::options opts = {}) {
  std::atomic<bool> ran = false;
  pool p(std::move(opts));
  if (p.try_do([&] { ran = true; })) return false;
  p.close();
  return ran;
}

// --- Construction

constexpr std::size_t workers = 8;

/// A pool whose workers are counted as they come and go.
struct counted_workers {
  std::atomic<std::size_t> started{0}, stopped{0};
  fanout::options options() {
    return {.name = "a name that needs an allocation of its own",
            .workers = workers,
            .on_worker_start = [this](std::size_t) { ++started; },
            .on_worker_stop = [this](std::size_t) { ++stopped; }};
  }
};

std::string fail_thread_starts() {
  for (std::size_t k = 0; k < workers; ++k) {
    counted_workers count;
    auto opts = count.options();
    support::thread_starts::until_failure = static_cast<int>(k);
    try {
      const pool p(std::move(opts));
      return "thread " + std::to_string(k) + " failed and the pool was made";
    } catch (const std::system_error& e) {
      if (e.code() != std::errc::resource_unavailable_try_again) return e.what();
    }
    if (count.started != count.stopped || count.started > k) return "a worker was left";
    if (!works({.workers = workers})) return "the next pool does not work";
  }
  return "system_error(EAGAIN) each time, no worker left, next pool works";
}

std::string fail_allocations_of_construction() {
  if (!allocations::are_counted) return not_replaceable;
  const bool warm = works({.workers = workers});
  for (std::size_t k = 0;; ++k) {
    counted_workers count;
    auto opts = std::make_unique<fanout::options>(count.options());
    const auto before = allocations::alive();
    bool threw = false;
    allocations::until_failure = k;
    try {
      const pool p(std::move(*opts));
      allocations::until_failure = allocations::never;
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    allocations::until_failure = allocations::never;
    if (count.started != count.stopped) return "a worker was left";
    if (!threw) return warm && k > workers ? "bad_alloc each time, nothing left" : "too few failed";
    if (allocations::alive() > before) return "memory was left";
    if (!works()) return "the next pool does not work";
  }
}

// --- Submission

struct thrown {};

/// A task that counts its objects and runs, and whose copies can be made to throw; so can its moves,
/// where they may.
template <std::size_t Ballast, bool NothrowMove> struct fragile {
  inline static int until_throw = -1;  // so many more succeed; negative: all
  inline static std::atomic<int> alive{0}, runs{0};

  bool intact = true;
  std::array<char, Ballast> ballast{};

  fragile() { ++alive; }
  fragile(const fragile& other) : intact(other.intact) {
    step();
    ++alive;
  }
  fragile(fragile&& other) noexcept(NothrowMove) {
    if constexpr (!NothrowMove) step();
    intact = std::exchange(other.intact, false);
    ++alive;
  }
  ~fragile() { --alive; }
  void operator()() { ++runs; }

  static void step() {
    if (until_throw >= 0 && until_throw-- == 0) throw thrown();
  }
};

using small = fragile<1, true>;
using boxed = fragile<200, true>;
using throwing_move = fragile<1, false>;

/// Lets the first, second, ... step of `submit(pool, group, task)` throw, until one gets through.
/// Says what is wrong; counts in `steps` how many threw.
template <class Task, class Submit, class SetFailure>
std::string fail_each_step(const Submit& submit, bool rvalue, SetFailure fail_after, int& steps) {
  Task::runs = 0;
  pool p{{.buffer = 4}};
  {
    fanout::group g{p};
    support::occupied busy(p);
    const auto memory = allocations::alive();
    Task task;
    for (int k = 0;; ++k) {
      const auto accepted = p.stats().accepted;
      bool threw = true;
      fail_after(k);
      try {
        rvalue ? submit(p, g, std::move(task)) : submit(p, g, task);
        threw = false;
      } catch (const thrown&) {
      } catch (const std::bad_alloc&) {
      }
      fail_after(-1);
      if (!threw) break;
      ++steps;
      if (p.stats().accepted != accepted) return "it threw and took the task";
      if (Task::alive != 1) return "it threw and left a copy";
      if (allocations::alive() > memory) return "it threw and left memory";
      if (!task.intact) return "it threw and moved from its argument";
    }
    busy.release();
    g.wait();
  }
  p.close();
  if (Task::runs != 1) return "what got through did not run once";
  if (Task::alive != 0) return "what got through was not destroyed";
  return "";
}

template <class Task> constexpr auto copies_fail = [](int after) { Task::until_throw = after; };
constexpr auto allocations_fail = [](int after) {
  allocations::until_failure = after < 0 ? allocations::never : static_cast<std::uint64_t>(after);
};

constexpr auto strong = "thrown at each step, nothing accepted, argument whole, then runs once";

template <class Submit> std::string fail_copies(const Submit& submit) {
  int steps = 0;
  std::string wrong = fail_each_step<small>(submit, false, copies_fail<small>, steps);
  if (wrong.empty()) wrong = fail_each_step<boxed>(submit, false, copies_fail<boxed>, steps);
  for (const bool rvalue : {false, true}) {
    if (!wrong.empty()) return wrong;
    wrong = fail_each_step<throwing_move>(submit, rvalue, copies_fail<throwing_move>, steps);
  }
  return !wrong.empty() ? wrong : steps >= 4 ? strong : "too few steps";
}

template <class Submit> std::string fail_allocations(const Submit& submit) {
  if (!allocations::are_counted) return not_replaceable;
  int steps = 0;
  std::string wrong;
  for (const bool rvalue : {false, true}) {
    if (wrong.empty()) wrong = fail_each_step<boxed>(submit, rvalue, allocations_fail, steps);
    if (!wrong.empty()) return wrong;
    wrong = fail_each_step<throwing_move>(submit, rvalue, allocations_fail, steps);
  }
  return !wrong.empty() ? wrong : steps >= 4 ? strong : "too few steps";
}

void expect(std::error_code err) {
  if (err) std::abort();
}

template <class Submit> std::string fail_copies_of() { return fail_copies(Submit()); }
template <class Submit> std::string fail_allocations_of() { return fail_allocations(Submit()); }

/// Both sweeps of one submitting function.
template <class Submit> bool add_submission(const std::string& name, const Submit&) {
  return faults::add(name, "copy or move throws at each step; inline, boxed, throwing move", strong,
                     &fail_copies_of<Submit>) &&
         faults::add(name, "operator new fails at each k; boxed, throwing move", strong,
                     &fail_allocations_of<Submit>);
}

// --- Groups

std::string fail_allocation_of_group() {
  if (!allocations::are_counted) return not_replaceable;
  pool p;
  for (int k = 0;; ++k) {
    const auto before = allocations::alive();
    allocations_fail(k);
    try {
      fanout::group g{p};
      allocations_fail(-1);
      std::atomic<int> runs{0};
      expect(g.run([&] { ++runs; }));
      g.wait();
      return k > 0 && runs == 1 ? "bad_alloc each time, nothing left" : "too few failed";
    } catch (const std::bad_alloc&) {
      allocations_fail(-1);
    }
    if (allocations::alive() != before) return "memory was left";
  }
}

// The waiter runs the task, and needs a stop source to make its token.
std::string fail_allocation_of_token() {
  if (!allocations::are_counted) return not_replaceable;
  pool p;
  const support::occupied busy(p);
  for (int k = 0;; ++k) {
    fanout::group g{p};
    int runs = 0;
    expect(g.try_do([&](const std::stop_token&) { ++runs; }));
    allocations_fail(k);
    try {
      g.wait();
      allocations_fail(-1);
      return k > 0 && runs == 1 ? "wait rethrows bad_alloc each time" : "too few failed";
    } catch (const std::bad_alloc&) {
      allocations_fail(-1);
    }
    if (runs != 0) return "the task ran without its token";
  }
}

constexpr auto by_try_do = [](pool& p, fanout::group&, auto&& f) {
  expect(p.try_do(std::forward<decltype(f)>(f)));
};
constexpr auto by_do_wait = [](pool& p, fanout::group&, auto&& f) {
  expect(p.do_wait(std::forward<decltype(f)>(f)));
};
constexpr auto by_do_wait_stop = [](pool& p, fanout::group&, auto&& f) {
  expect(p.do_wait(std::forward<decltype(f)>(f), std::stop_token()));
};
constexpr auto by_try_do_for = [](pool& p, fanout::group&, auto&& f) {
  expect(p.try_do_for(std::chrono::hours(1), std::forward<decltype(f)>(f)));
};
constexpr auto by_bulk = [](pool& p, fanout::group&, auto&& f) {
  if constexpr (std::is_lvalue_reference_v<decltype(f)>) {
    expect(p.try_do_bulk(support::range<decltype(&f)>{&f, &f + 1}).error);
  } else {
    expect(p.try_do_bulk(support::forward_rvalues(&f, 1)).error);
  }
};
constexpr auto by_submit = [](pool& p, fanout::group&, auto&& f) {
  if (!p.submit(std::forward<decltype(f)>(f)).valid()) std::abort();
};
constexpr auto by_group_try_do = [](pool&, fanout::group& g, auto&& f) {
  expect(g.try_do(std::forward<decltype(f)>(f)));
};
constexpr auto by_group_run = [](pool&, fanout::group& g, auto&& f) {
  expect(g.run(std::forward<decltype(f)>(f)));
};

const bool added =
    faults::add("constructor, 8 workers", "pthread_create fails for worker k, each k",
                "system_error(EAGAIN) each time, no worker left, next pool works",
                &fail_thread_starts) &&
    faults::add("constructor, 8 workers", "operator new fails at each k",
                "bad_alloc each time, nothing left", &fail_allocations_of_construction) &&
    add_submission("try_do", by_try_do) && add_submission("do_wait", by_do_wait) &&
    add_submission("do_wait, stop token", by_do_wait_stop) &&
    add_submission("try_do_for", by_try_do_for) && add_submission("try_do_bulk", by_bulk) &&
    add_submission("submit", by_submit) && add_submission("group try_do", by_group_try_do) &&
    add_submission("group run", by_group_run) &&
    faults::add("group constructor", "operator new fails at each k",
                "bad_alloc each time, nothing left", &fail_allocation_of_group) &&
    faults::add("stop token of a group task", "operator new fails at each k",
                "wait rethrows bad_alloc each time", &fail_allocation_of_token);

}  // namespace
