// A pool as a service uses it: at a fixed rate, beside threads that want the cores.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   service                  everything, briefly
//   service --list           the implementations, their kinds, and which can block
//   service paced NAME RATE PACING US WORKERS NEIGHBOURS MS
//       RATE tasks a second that compute for US microseconds each. The submitter keeps absolute
//       deadlines. PACING: sleep (until each), compute (between them), or burst (it sleeps, and
//       submits 100 at once). NEIGHBOURS: 0, or how many and t, threads of this process, or p,
//       processes. For MS ms without a pool and for MS ms with one, in turns.
//   service blocking NAME N MS
//       N tasks, each of which waits for all, to N workers that sleep: when the last one starts.
//   service parked NAME WORKERS MS
//       What a pool that has nothing to do uses.
//   service overshoot CALL NEIGHBOURS MS
//       How late a timed call of this library returns, and a condition variable's timed wait in
//       turns with it. CALL: try_do_for, wait_idle_for, close_for or group_wait_for.
//   service kernel_calls NAME RATE WORKERS MS
//       What fanout or fanout_delay asks of the kernel, a task.
//
// NAME none is no pool at all, the submitter runs its tasks itself: what it shows beyond their own
// work is noise, and what its neighbours lose is what anybody's must.

#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "neighbours.hpp"
#include "peers.hpp"
#include "support.hpp"

namespace {

using bench::report;
using std::string_view;

void sleep_until(std::int64_t ns) {
  const timespec until{static_cast<time_t>(ns / 1'000'000'000),
                       static_cast<long>(ns % 1'000'000'000)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

void sleep_ms(std::int64_t ms) { sleep_until(bench::now_ns() + ms * 1'000'000); }

/// No pool at all: the submitter runs its tasks.
class no_pool {
 public:
  static constexpr string_view name = "none", kind = "none";
  using port = bench::plain_port<no_pool>;
  explicit no_pool(std::size_t) {}
  bool try_submit(const bench::task& t) {
    t();
    return true;
  }
  void close() {}
};

// --- At a fixed rate

struct cell {
  double rate = 0;  // tasks a second
  std::size_t at_once = 1;
  bool computes = false;  // the submitter, between submissions
  std::uint64_t task_us = 0;
  std::size_t workers = 1;
  std::int64_t ms = 0;

  std::size_t tasks(double seconds) const {
    const double calls = rate * seconds / static_cast<double>(at_once);
    return std::max<std::size_t>(1, static_cast<std::size_t>(calls)) * at_once;
  }
};

/// Calls submit(i) for each of `count` when it is due. Returns how often it slept: who is behind does
/// not.
template <class Submit> double keep_pace(const cell& c, std::size_t count, Submit submit) {
  const double period = 1e9 * static_cast<double>(c.at_once) / c.rate;
  const std::int64_t start = bench::now_ns();
  double due = 0;
  double sleeps = 0;
  for (std::size_t i = 0; i < count;) {
    due += period;
    const std::int64_t until = start + static_cast<std::int64_t>(due);
    if (c.computes) {
      while (bench::now_ns() < until) bench::compute(64);
    } else if (bench::now_ns() < until) {
      sleep_until(until);
      ++sleeps;
    }
    for (const std::size_t end = i + c.at_once; i < end; ++i) submit(i);
  }
  return sleeps;
}

/// Sums over stretches of time.
struct totals {
  bench::usage used;  // without the neighbours
  double neighbours_done = 0, wall_ns = 0, tasks = 0, sleeps = 0;
};

/// Adds what happens while `run` runs, and a moment longer: workers end what they began, and sleep.
template <class Run>
void measure(const cell& c, const bench::neighbours& beside, totals& to, Run run) {
  const auto used = [&] {
    bench::usage all = bench::process_usage() - beside.used();
    if (c.computes) all.cpu_ns -= bench::thread_cpu_ns();
    return all;
  };
  const bench::usage before = used();
  const double done = beside.done();
  const std::int64_t start = bench::now_ns();
  run();
  for (const bench::stopwatch moment(3); moment.is_running();) {
    c.computes ? bench::compute(64) : sleep_ms(3);
  }
  to.wall_ns += static_cast<double>(bench::now_ns() - start);
  to.neighbours_done += beside.done() - done;
  to.used += used() - before;
}

/// The processor time of single calls, where the submitter computes and so has no idle time that
/// shows them: every seventh, since the clock is slow.
class call_cpu {
 public:
  call_cpu() {
    for (int i = 0; i < 7000; ++i) time([] { return true; });
    overhead_ = mean();
    sum_ = samples_ = 0;
  }
  template <class F> bool time(F f) {
    if (++calls_ % 7 != 0) return f();
    const double before = bench::thread_cpu_ns();
    const bool answer = f();
    sum_ += bench::thread_cpu_ns() - before;
    ++samples_;
    return answer;
  }
  double mean() const { return samples_ == 0 ? 0 : std::max(0.0, sum_ / samples_ - overhead_); }

 private:
  std::uint64_t calls_ = 0;
  double sum_ = 0, samples_ = 0, overhead_ = 0;
};

/// When each task was submitted and when it started.
class record {
 public:
  explicit record(std::size_t count, std::uint64_t iterations)
      : count_(count),
        iterations_(iterations),
        submitted_(std::make_unique<std::int64_t[]>(count)),
        started_(std::make_unique<std::atomic<std::int64_t>[]>(count)) {
    clear();
  }
  void clear() {
    for (std::size_t i = 0; i < count_; ++i) submitted_[i] = started_[i] = 0;
  }

  bench::task submit(std::size_t i) {
    submitted_[i] = bench::now_ns();
    return {[](const bench::task& t) {
              static_cast<std::atomic<std::int64_t>*>(t.to)->store(bench::now_ns(),
                                                                   std::memory_order_release);
              bench::compute(t.value);
            },
            &started_[i], iterations_};
  }
  void refuse(std::size_t i) { submitted_[i] = 0; }
  void wait_until_started() const {
    for (std::size_t i = 0; i < count_; ++i) {
      while (submitted_[i] != 0 && started_[i].load(std::memory_order_acquire) == 0) sleep_ms(1);
    }
  }
  void add_waits(std::vector<double>& to) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (submitted_[i] != 0) to.push_back(static_cast<double>(started_[i] - submitted_[i]));
    }
  }
  /// Of each burst of `size`, from its first submission to its last start.
  void add_bursts(std::size_t size, std::vector<double>& to) const {
    for (std::size_t i = 0; i + size <= count_; i += size) {
      std::int64_t last = 0;
      for (std::size_t k = i; k < i + size; ++k) last = std::max(last, started_[k].load());
      if (submitted_[i] != 0) to.push_back(static_cast<double>(last - submitted_[i]));
    }
  }

 private:
  const std::size_t count_;
  const std::uint64_t iterations_;
  const std::unique_ptr<std::int64_t[]> submitted_;
  const std::unique_ptr<std::atomic<std::int64_t>[]> started_;
};

/// The processor time of a task by itself, beside the same neighbours.
double work_ns(std::uint64_t iterations, std::uint64_t task_us) {
  record one(1, iterations);
  std::vector<double> batches;
  for (int batch = 0; batch < 5; ++batch) {
    const std::uint64_t count =
        std::max<std::uint64_t>(10, 500 / std::max<std::uint64_t>(1, task_us));
    const bench::task t = one.submit(0);
    const double before = bench::thread_cpu_ns();
    for (std::uint64_t i = 0; i < count; ++i) t();
    batches.push_back((bench::thread_cpu_ns() - before) / static_cast<double>(count));
  }
  return bench::quantile(batches, 0.5);
}

/// Timers of the calling thread fire when they are due instead of up to 50 µs later. Threads inherit
/// that, so workers are made without.
void set_exact_timers(bool exact) { ::prctl(PR_SET_TIMERSLACK, exact ? 1ul : 0ul, 0, 0, 0); }

template <class Pool> void paced(const cell& c, string_view who) {
  constexpr bool is_pool = Pool::kind != "none";
  const auto iterations = c.task_us == 0
                              ? 0
                              : static_cast<std::uint64_t>(bench::iterations_per_us(4) *
                                                           static_cast<double>(c.task_us));
  const bench::neighbours beside(who);
  const double seconds = static_cast<double>(c.ms) * 1e-3;
  // In up to four stretches each, since the machine's mood changes; none with too few tasks.
  const std::size_t most = std::min(c.tasks(seconds) / 100, static_cast<std::size_t>(c.ms / 50));
  const std::size_t stretches = std::clamp<std::size_t>(most, 1, 4);
  const std::size_t count = c.tasks(seconds / static_cast<double>(stretches));
  const std::size_t warm_up = std::min(c.tasks(0.02), std::max<std::size_t>(32, c.at_once));

  bench::call_timer calls, nothing;  // both phases pay for the clock
  calls.reserve(c.tasks(seconds) * 2);
  nothing.reserve(c.tasks(seconds) * 2);
  call_cpu cpu;
  record tasks(count, iterations);
  std::vector<double> waits, bursts;
  double refused = 0;
  totals alone, pooled;
  const double own_work = work_ns(iterations, c.task_us);

  for (std::size_t stretch = 0; stretch < stretches; ++stretch) {
    set_exact_timers(true);
    measure(c, beside, alone, [&] {
      alone.sleeps += keep_pace(c, count, [&](std::size_t i) {
        tasks.submit(i);
        nothing.time([] { return true; });
      });
    });
    alone.tasks += static_cast<double>(count);

    set_exact_timers(false);
    Pool pool(c.workers);
    typename Pool::port port(pool);
    set_exact_timers(true);
    keep_pace(c, warm_up, [&](std::size_t) { bench::submit_retrying(port, bench::task{}); });
    sleep_ms(3);
    tasks.clear();
    double accepted = 0;
    measure(c, beside, pooled, [&] {
      pooled.sleeps += keep_pace(c, count, [&](std::size_t i) {
        const bench::task t = tasks.submit(i);
        const auto submit = [&] { return calls.time([&] { return port.try_submit(t); }); };
        const bool is_accepted = c.computes ? cpu.time(submit) : submit();
        if (is_accepted) {
          ++accepted;
        } else {
          tasks.refuse(i);
        }
      });
      if (is_pool) tasks.wait_until_started();
    });
    pooled.tasks += accepted;
    refused += static_cast<double>(count) - accepted;
    if (is_pool) {
      tasks.add_waits(waits);
      if (c.at_once > 1) tasks.add_bursts(c.at_once, bursts);
    }
    pool.close();
  }

  // What the pacing costs it costs a sleep: a submitter that a pool delays sleeps less often.
  const double paced = alone.sleeps == 0 ? 0 : pooled.sleeps / alone.sleeps;
  const auto beyond = [&](auto used) {
    return (used(pooled) - used(alone) * paced) / pooled.tasks;
  };
  report("cpu_ns",
         beyond([](const totals& t) { return t.used.cpu_ns; }) + (c.computes ? cpu.mean() : 0));
  report("pace_ns", alone.used.cpu_ns / alone.tasks);
  report("sleeps", pooled.sleeps / pooled.tasks);
  report("work_ns", own_work);
  report("switches", beyond([](const totals& t) { return t.used.switches; }));
  if (!beside.is_nobody()) {
    const double by_itself = alone.neighbours_done / alone.wall_ns;
    report("loss_percent", 100 - 100 * pooled.neighbours_done / pooled.wall_ns / by_itself);
  }
  report("refused_percent", 100 * refused / (pooled.tasks + refused));
  report("tasks", pooled.tasks + static_cast<double>(stretches * warm_up));  // warming up included
  calls.report("call_");
  if (is_pool) {
    report("wait_p50_ns", bench::quantile(waits, 0.5));
    report("wait_p99_ns", bench::quantile(waits, 0.99));
    report("wait_max_ns", bench::quantile(waits, 1));
  }
  if (!bursts.empty()) {
    report("last_p50_ns", bench::quantile(bursts, 0.5));
    report("last_p99_ns", bench::quantile(bursts, 0.99));
  }
}

cell paced_cell(const bench::arguments& args) {
  cell c;
  c.rate = args.number<std::uint32_t>(2);
  const string_view pacing = args.word(3);
  if (pacing != "sleep" && pacing != "compute" && pacing != "burst") {
    bench::fail("a submitter keeps its pace by sleep, compute or burst");
  }
  c.computes = pacing == "compute";
  c.at_once = pacing == "burst" ? 100 : 1;
  c.task_us = args.count(4);
  c.workers = args.number<std::size_t>(5);
  c.ms = args.number(7);
  return c;
}

// --- Blocking tasks

/// Tasks that wait until all of them have started.
class rendezvous {
 public:
  explicit rendezvous(std::size_t count) : starts_(count) {}

  bench::task task() {
    return {[](const bench::task& t) { static_cast<rendezvous*>(t.to)->arrive(); }, this, 0};
  }
  /// Waits for all, a second at most, and lets them go. Returns when the last one started.
  std::int64_t finish() {
    std::unique_lock hold(mutex_);
    changed_.wait_for(hold, std::chrono::seconds(1), [this] { return is_complete(); });
    is_open_ = true;
    changed_.notify_all();
    changed_.wait(hold, [this] { return ended_ == starts_.size(); });
    return *std::max_element(starts_.begin(), starts_.end());
  }

 private:
  bool is_complete() const { return started_ == starts_.size(); }
  void arrive() {
    const std::int64_t now = bench::now_ns();
    std::unique_lock hold(mutex_);
    starts_[started_++] = now;
    if (is_complete()) changed_.notify_all();
    changed_.wait(hold, [this] { return is_open_; });
    if (++ended_ == starts_.size()) changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int64_t> starts_;
  std::size_t started_ = 0, ended_ = 0;
  bool is_open_ = false;
};

template <class Pool> void blocking(std::size_t count, std::int64_t ms) {
  Pool pool(count);
  {
    typename Pool::port port(pool);
    std::vector<double> last;
    const bench::stopwatch watch(ms);
    for (bool is_first = true; is_first || last.empty() || watch.is_running(); is_first = false) {
      rendezvous all(count);
      const std::int64_t start = bench::now_ns();
      for (std::size_t i = 0; i < count; ++i) bench::submit_retrying(port, all.task());
      const auto took = static_cast<double>(all.finish() - start);
      if (!is_first) last.push_back(took);
      sleep_ms(4);  // workers sleep, and no nap is in progress
      const bench::other_threads others;
      others.wait_until_asleep();
    }
    report("last_p50_ns", bench::quantile(last, 0.5));
    report("last_p99_ns", bench::quantile(last, 0.99));
    report("samples", static_cast<double>(last.size()));
    pool.close();
  }
}

// --- Nothing to do

template <class Pool> void parked(std::size_t workers, std::int64_t ms) {
  Pool pool(workers);
  {
    typename Pool::port port(pool);
    for (std::size_t i = 0; i < 1000; ++i) bench::submit_retrying(port, bench::task{});
    sleep_ms(50);
    const bench::usage before = bench::process_usage();
    const std::int64_t start = bench::now_ns();
    sleep_ms(ms);
    const bench::usage used = bench::process_usage() - before;
    const auto wall = static_cast<double>(bench::now_ns() - start);
    report("cpu_share", used.cpu_ns / wall);
    report("switches_per_s", std::max(0.0, used.switches - 1) * 1e9 / wall);  // one is ours
    pool.close();
  }
}

// --- Timed calls

constexpr std::chrono::microseconds timeout{200};

/// How late `call` comes back, or says that it did.
template <class Call> double overshoot(Call call) {
  const std::int64_t start = bench::now_ns();
  const std::int64_t end = call();
  return static_cast<double>(end - start) - std::chrono::nanoseconds(timeout).count();
}

/// Takes `call` and a condition variable's timed wait in turns.
template <class Call> void compare_overshoot(std::int64_t ms, Call call) {
  std::mutex mutex;
  std::condition_variable never;
  std::vector<double> own, plain;
  const bench::stopwatch watch(ms);
  do {
    own.push_back(call());
    plain.push_back(overshoot([&] {
      std::unique_lock hold(mutex);
      never.wait_for(hold, timeout, [] { return false; });
      return bench::now_ns();
    }));
  } while (watch.is_running());
  report("p50_ns", bench::quantile(own, 0.5));
  report("p99_ns", bench::quantile(own, 0.99));
  report("condvar_p50_ns", bench::quantile(plain, 0.5));
  report("condvar_p99_ns", bench::quantile(plain, 0.99));
  report("samples", static_cast<double>(own.size()));
}

/// The worker of `pool` is in a task, and its buffer is full. `call` times out.
template <class Call> void on_full_pool(std::int64_t ms, Call call) {
  fanout::pool pool({.buffer = 4});
  bench::gate gate;
  if (pool.try_do(gate.closing())) bench::fail("an empty buffer refused");
  gate.wait_until_held();
  while (!pool.try_do(bench::task{})) {
  }
  compare_overshoot(ms, [&] {
    return overshoot([&] {
      if (call(pool) != std::errc::timed_out) bench::fail("a timed call did not time out");
      return bench::now_ns();
    });
  });
  gate.open();
}

void measure_close_for(std::int64_t ms) {
  compare_overshoot(ms, [] {
    fanout::pool pool;
    bench::gate gate;
    std::atomic<std::int64_t> asked{0};
    const auto task = [&](const std::stop_token& stop) {
      const std::stop_callback note(stop, [&] {
        asked = bench::now_ns();
        gate.open();
      });
      gate.closing()();
    };
    if (pool.try_do(task)) bench::fail("an empty buffer refused");
    gate.wait_until_held();
    return overshoot([&] {
      if (pool.close_for(timeout) != std::errc::timed_out)
        bench::fail("close_for did not time out");
      return asked.load();
    });
  });
}

void measure_group_wait_for(std::int64_t ms) {
  fanout::pool pool;
  fanout::group group(pool);
  bench::gate gate;
  if (group.try_do(gate.closing())) bench::fail("an empty group refused");
  gate.wait_until_held();  // by the worker: nobody else may run it
  compare_overshoot(ms, [&] {
    return overshoot([&] {
      if (group.wait_for(timeout) != std::errc::timed_out) bench::fail("wait_for did not time out");
      return bench::now_ns();
    });
  });
  gate.open();
}

void measure_overshoot(string_view call, std::int64_t ms) {
  if (call == "try_do_for") {
    on_full_pool(ms, [](fanout::pool& pool) { return pool.try_do_for(timeout, bench::task{}); });
  } else if (call == "wait_idle_for") {
    on_full_pool(ms, [](fanout::pool& pool) { return pool.wait_idle_for(timeout); });
  } else if (call == "close_for") {
    measure_close_for(ms);
  } else if (call == "group_wait_for") {
    measure_group_wait_for(ms);
  } else {
    bench::fail("no timed call '" + std::string(call) + "' is measured");
  }
}

// --- What the library asks of the kernel

struct kernel_calls {
  std::atomic<std::uint64_t> wakes_by_submitter{0}, wakes_by_workers{0}, parks{0}, naps{0};
  static thread_local bool is_submitter;
};
thread_local bool kernel_calls::is_submitter = false;
kernel_calls asked;

struct counting_sync : fanout::detail::native_sync {
  static void park(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    ++asked.parks;
    native_sync::park(word, expected);
  }
  static void unpark_one(std::atomic<std::uint32_t>& word) noexcept {
    count_wake();
    native_sync::unpark_one(word);
  }
  static void count_wake() noexcept {
    ++(kernel_calls::is_submitter ? asked.wakes_by_submitter : asked.wakes_by_workers);
  }
};

/// Counts naps too, where the header's seam has them.
template <class Native> struct counting_naps : counting_sync {};
template <class Native>
  requires requires { typename Native::timed_parking; }
struct counting_naps<Native> : counting_sync {
  class timed_parking : public Native::timed_parking {
   public:
    template <class... Arguments> void park_until(Arguments&&... arguments) noexcept {
      ++asked.naps;
      Native::timed_parking::park_until(std::forward<Arguments>(arguments)...);
    }
    void unpark(std::atomic<std::uint32_t>& word) noexcept {
      count_wake();
      Native::timed_parking::unpark(word);
    }
  };
};

struct counting_policy : fanout::default_policy {
  using sync = counting_naps<fanout::detail::native_sync>;
};

template <class Options> void count_kernel_calls(string_view name, cell c) {
  Options o{.workers = c.workers, .buffer = bench::buffer};
  if (name == "fanout_delay") {
    if constexpr (bench::has_wake_delay<Options>) {
      o.wake_delay = bench::delayed_pool<Options>::delay;
    } else {
      bench::fail("this version has no wake delay");
    }
  } else if (name != bench::fanout_pool::name) {
    bench::fail("kernel calls of '" + std::string(name) + "' are not counted");
  }
  fanout::basic_pool<counting_policy> pool(o);
  kernel_calls::is_submitter = true;
  set_exact_timers(true);
  const auto submit = [&](std::size_t) {
    if (pool.try_do(bench::task{})) bench::fail("the pool is full");
  };
  const auto read = [] {
    return std::array<double, 4>{static_cast<double>(asked.wakes_by_submitter),
                                 static_cast<double>(asked.wakes_by_workers),
                                 static_cast<double>(asked.parks), static_cast<double>(asked.naps)};
  };
  keep_pace(c, c.tasks(0.02), submit);
  auto before = read();
  const std::size_t count = c.tasks(static_cast<double>(c.ms) * 1e-3);
  keep_pace(c, count, submit);
  auto after = read();
  const char* const names[] = {"submitter_wakes", "worker_wakes", "parks", "naps"};
  for (std::size_t i = 0; i < 4; ++i) {
    report(names[i], (after[i] - before[i]) / static_cast<double>(count));
  }
  sleep_ms(20);
  before = read();
  sleep_ms(100);
  after = read();
  report("quiet_calls", after[0] + after[1] + after[2] + after[3] -
                            (before[0] + before[1] + before[2] + before[3]));
}

// --- The command line

template <class F> void with_pool(string_view name, F f) {
  if (name == no_pool::name) {
    f.template operator()<no_pool>();
  } else {
    bench::service_pools::with(name, [&]<class Pool>() {
      if constexpr (Pool::kind == "limit") {
        bench::fail("the bare ring never sleeps");
      } else {
        f.template operator()<Pool>();
      }
    });
  }
}

void run_everything_briefly() {
  cell c;
  c.rate = 10'000;
  c.ms = 10;
  bench::service_pools::each([&]<class Pool>() {
    if constexpr (Pool::kind != "limit") {
      paced<Pool>(c, "1p");
      blocking<Pool>(2, 1);
      parked<Pool>(2, 10);
    }
  });
  c.computes = true;
  paced<no_pool>(c, "1t");
  paced<bench::fanout_pool>(c, "1t");
  c.computes = false;
  c.at_once = 100;
  paced<bench::fanout_pool>(c, "0");
  for (const char* const call : {"try_do_for", "wait_idle_for", "close_for", "group_wait_for"}) {
    measure_overshoot(call, 1);
  }
  c.at_once = 1;
  count_kernel_calls<fanout::options>(bench::fanout_pool::name, c);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  if (args.empty()) {
    run_everything_briefly();
  } else if (args.word(0) == "--list") {
    bench::service_pools::print();
  } else if (args.word(0) == "paced") {
    const cell c = paced_cell(args);
    with_pool(args.word(1), [&]<class Pool>() { paced<Pool>(c, args.word(6)); });
  } else if (args.word(0) == "blocking") {
    with_pool(args.word(1), [&]<class Pool>() {
      if constexpr (Pool::kind != "none") {
        blocking<Pool>(args.number<std::size_t>(2), args.number(3));
      }
    });
  } else if (args.word(0) == "parked") {
    with_pool(args.word(1),
              [&]<class Pool>() { parked<Pool>(args.number<std::size_t>(2), args.number(3)); });
  } else if (args.word(0) == "overshoot") {
    const std::int64_t ms = args.number(3);
    const bench::neighbours beside(args.word(2));
    measure_overshoot(args.word(1), ms);
  } else if (args.word(0) == "kernel_calls") {
    cell c;
    c.rate = args.number<std::uint32_t>(2);
    c.workers = args.number<std::size_t>(3);
    c.ms = args.number(4);
    count_kernel_calls<fanout::options>(args.word(1), c);
  } else {
    bench::fail("no measurement '" + std::string(args.word(0)) + "'");
  }
}
