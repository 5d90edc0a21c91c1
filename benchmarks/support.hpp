// What the benchmarks share: the task that everybody runs, gates, clocks and statistics.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_BENCHMARKS_SUPPORT_HPP
#define FANOUT_BENCHMARKS_SUPPORT_HPP

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fanout/fanout.hpp>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace bench {

inline constexpr std::size_t buffer = 1024;  // the bound of every implementation

/// The closure that every implementation runs: 24 bytes, as a lambda with three captures.
struct task {
  void (*effect)(const task&) = nullptr;  // null: the task is empty
  void* to = nullptr;
  std::uint64_t value = 0;
  void operator()() const {
    if (effect != nullptr) effect(*this);
  }
};
static_assert(sizeof(task) == 24);

[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

/// One line of a program's output, which the runner reads.
inline void report(const std::string& quantity, double value) {
  std::printf("%s %.9g\n", quantity.c_str(), value);
  std::fflush(stdout);
}

inline std::int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

#if defined(__linux__)
inline double clock_ns(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}
#endif

/// Nanoseconds that the process has spent on processors.
inline double cpu_ns() {
#if defined(__linux__)
  return clock_ns(CLOCK_PROCESS_CPUTIME_ID);  // counts what runs now, which getrusage may not
#else
  return static_cast<double>(std::clock()) * 1e9 / CLOCKS_PER_SEC;
#endif
}

inline std::size_t cores() { return std::max(1u, std::thread::hardware_concurrency()); }

/// A clock for single calls: the time stamp counter where there is one, fenced on both sides.
inline std::uint64_t ticks() {
#if defined(__x86_64__)
  _mm_lfence();
  const std::uint64_t t = __rdtsc();
  _mm_lfence();
  return t;
#else
  return static_cast<std::uint64_t>(now_ns());
#endif
}

inline double ns_per_tick() {
  static const double ratio = [] {
    const std::int64_t ns = now_ns();
    const std::uint64_t t = ticks();
    while (now_ns() - ns < 20'000'000) {
    }
    return static_cast<double>(now_ns() - ns) / static_cast<double>(ticks() - t);
  }();
  return ratio;
}

/// The quantile `q` of `samples`, which it reorders.
template <class T> T quantile(std::vector<T>& samples, double q) {
  if (samples.empty()) fail("no samples");
  const auto rank = static_cast<std::ptrdiff_t>(q * static_cast<double>(samples.size() - 1));
  std::nth_element(samples.begin(), samples.begin() + rank, samples.end());
  return samples[static_cast<std::size_t>(rank)];
}

/// Times single calls. A clock ticks in steps (of 10 ns on some machines), so each reading stands
/// for the whole step around it: quantiles interpolate inside a step. What a pair of readings costs
/// with nothing between is taken off.
class call_timer {
 public:
  call_timer() {
    for (int i = 0; i < 20'000; ++i) time([] { return true; });
    std::sort(ticks_.begin(), ticks_.end());
    step_ = ticks_.back();
    for (std::size_t i = 1; i < ticks_.size(); ++i) {
      if (ticks_[i] != ticks_[i - 1]) step_ = std::min(step_, ticks_[i] - ticks_[i - 1]);
    }
    overhead_ = ticks_at(0.5);
    ticks_.clear();
    ns_per_tick();
  }

  /// Times one call of `f` and returns what it returns.
  template <class F> bool time(F f) {
    const std::uint64_t before = ticks();
    const bool answer = f();
    ticks_.push_back(ticks() - before);
    return answer;
  }
  void drop_last() { ticks_.pop_back(); }
  void reserve(std::size_t calls) { ticks_.reserve(calls); }

  /// Prints the quantiles under names that begin with `prefix`.
  void report(const std::string& prefix = "") {
    std::sort(ticks_.begin(), ticks_.end());
    const auto ns = [this](double q) {
      return std::max(0.0, ticks_at(q) - overhead_) * ns_per_tick();
    };
    bench::report(prefix + "p50_ns", ns(0.5));
    bench::report(prefix + "p99_ns", ns(0.99));
    bench::report(prefix + "p999_ns", ns(0.999));
    bench::report(prefix + "samples", static_cast<double>(ticks_.size()));
  }

 private:
  /// Of the sorted readings.
  double ticks_at(double q) const {
    if (ticks_.empty()) fail("no samples");
    const double rank = q * static_cast<double>(ticks_.size() - 1);
    const std::uint64_t at = ticks_[static_cast<std::size_t>(rank)];
    const auto same = std::equal_range(ticks_.begin(), ticks_.end(), at);
    const auto below = static_cast<double>(same.first - ticks_.begin());
    const auto count = static_cast<double>(same.second - same.first);
    return static_cast<double>(at) +
           static_cast<double>(step_) * ((rank + 0.5 - below) / count - 0.5);
  }

  std::uint64_t step_ = 0;
  double overhead_ = 0;
  std::vector<std::uint64_t> ticks_;
};

/// True until `ms` milliseconds have passed since it was made.
class stopwatch {
 public:
  explicit stopwatch(std::int64_t ms) : end_(now_ns() + ms * 1'000'000) {}
  bool is_running() const { return now_ns() < end_; }

 private:
  std::int64_t end_;
};

// --- Effects of a task

/// Counts in an atomic.
inline task counting(std::atomic<std::uint64_t>& counter) {
  return {[](const task& t) {
            static_cast<std::atomic<std::uint64_t>*>(t.to)->fetch_add(t.value,
                                                                      std::memory_order_relaxed);
          },
          &counter, 1};
}

/// Stores the time at which it runs, in nanoseconds.
inline task stamping(std::atomic<std::int64_t>& stamp) {
  return {[](const task& t) {
            static_cast<std::atomic<std::int64_t>*>(t.to)->store(now_ns(),
                                                                 std::memory_order_release);
          },
          &stamp, 0};
}

/// Computes for `iterations`, each of which needs the result of the one before.
inline void compute(std::uint64_t iterations) {
  std::uint64_t x = iterations;
  for (; iterations > 0; --iterations) {
    x = x * 6364136223846793005u + 1442695040888963407u;
#if defined(__GNUC__)
    __asm__ __volatile__("" : "+r"(x));
#endif
  }
}

inline task computing(std::uint64_t iterations) {
  return {[](const task& t) { compute(t.value); }, nullptr, iterations};
}

/// Iterations of compute() in a microsecond: the most of `tries` of about a millisecond, since
/// whoever shares the machine can only make it fewer.
inline double iterations_per_us(int tries = 20) {
  constexpr std::uint64_t iterations = 1'000'000;
  double most = 0;
  while (tries-- > 0) {
    const std::int64_t start = now_ns();
    compute(iterations);
    most = std::max(most,
                    static_cast<double>(iterations) * 1e3 / static_cast<double>(now_ns() - start));
  }
  return most;
}

/// Holds a worker until it is opened; then serves again.
class gate {
 public:
  task closing() {
    return {[](const task& t) { static_cast<gate*>(t.to)->pass(); }, this, 0};
  }
  void wait_until_held() {
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [this] { return is_held_; });
  }
  void open() {
    const std::lock_guard hold(mutex_);
    is_held_ = false;
    changed_.notify_all();
  }

 private:
  void pass() {
    std::unique_lock hold(mutex_);
    is_held_ = true;
    changed_.notify_all();
    changed_.wait(hold, [this] { return !is_held_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_held_ = false;
};

/// Looks until `condition` holds, busily at first: for what takes microseconds.
template <class Condition> void spin_until(Condition condition) {
  for (unsigned looks = 0; !condition();) {
    if (++looks % 64 != 0) {
      fanout::detail::native_sync::pause();
    } else {
      std::this_thread::yield();
    }
  }
}

/// Submits until accepted, yielding after each refusal: what every producer of every
/// implementation does.
template <class Port> void submit_retrying(Port& port, const task& t) {
  while (!port.try_submit(t)) std::this_thread::yield();
}

#if defined(__linux__)
/// The threads of this process, to see whether the others sleep.
class other_threads {
 public:
  /// Opens those that exist now.
  other_threads() {
    const std::string own = std::to_string(::syscall(SYS_gettid));
    DIR* const all = ::opendir("/proc/self/task");
    if (all == nullptr) fail("/proc/self/task cannot be read");
    while (const dirent* const entry = ::readdir(all)) {
      const std::string name = entry->d_name;
      if (name[0] == '.' || name == own) continue;
      const int stat = ::open(("/proc/self/task/" + name + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
      if (stat >= 0) stats_.push_back(stat);
    }
    ::closedir(all);
  }
  ~other_threads() {
    for (const int stat : stats_) ::close(stat);
  }
  other_threads(const other_threads&) = delete;
  other_threads& operator=(const other_threads&) = delete;

  void wait_until_asleep() const {
    while (!std::all_of(stats_.begin(), stats_.end(), is_asleep)) std::this_thread::yield();
  }

 private:
  static bool is_asleep(int stat) {
    char text[256];
    const ssize_t size = ::pread(stat, text, sizeof text, 0);
    if (size <= 0) return true;  // it has ended
    const std::string_view line(text, static_cast<std::size_t>(size));
    const std::size_t state = line.rfind(')') + 2;
    return state < line.size() && line[state] == 'S';
  }

  std::vector<int> stats_;
};
#else
class other_threads {
 public:
  void wait_until_asleep() const { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }
};
#endif

// --- The command line

/// The words after a program's name.
class arguments {
 public:
  arguments(int argc, char** argv) : words_(argv + 1, argv + argc) {}
  bool empty() const { return words_.empty(); }
  std::size_t size() const { return words_.size(); }
  std::string_view word(std::size_t i) const {
    if (i >= words_.size()) fail("too few arguments; none at all shows how this program runs");
    return words_[i];
  }
  template <class Integer = std::int64_t> Integer number(std::size_t i) const {
    return parse<Integer>(word(i));
  }
  /// A number that may be 0.
  std::uint64_t count(std::size_t i) const { return word(i) == "0" ? 0 : number<std::uint64_t>(i); }
  /// The numbers P and W of a cell that is written PxW.
  std::pair<std::size_t, std::size_t> cell(std::size_t i) const {
    const std::string_view text = word(i);
    const std::size_t x = std::min(text.find('x'), text.size() - 1);
    return {parse<std::size_t>(text.substr(0, x)), parse<std::size_t>(text.substr(x + 1))};
  }

 private:
  template <class Integer> static Integer parse(std::string_view text) {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value <= 0) {
      fail("'" + std::string(text) + "' is no number above 0");
    }
    return value;
  }

  std::vector<std::string_view> words_;
};

}  // namespace bench

#endif  // FANOUT_BENCHMARKS_SUPPORT_HPP
