// What computes beside a pool, and what is left to it.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_BENCHMARKS_NEIGHBOURS_HPP
#define FANOUT_BENCHMARKS_NEIGHBOURS_HPP

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support.hpp"

namespace bench {

/// What threads of this process have used.
struct usage {
  double cpu_ns = 0, switches = 0;
  usage operator-(const usage& other) const {
    return {cpu_ns - other.cpu_ns, switches - other.switches};
  }
  usage& operator+=(const usage& other) {
    cpu_ns += other.cpu_ns;
    switches += other.switches;
    return *this;
  }
};

inline usage process_usage() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return {cpu_ns(), static_cast<double>(used.ru_nvcsw + used.ru_nivcsw)};
}

/// Of the calling thread. The call costs some hundred nanoseconds, which call_cpu takes off.
inline double thread_cpu_ns() { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

/// Of another thread of this process.
inline usage thread_usage(pid_t thread) {
  // The kernel's clocks of threads: the number negated, a clock of one thread, of its running time.
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6u);
  usage used{clock_ns(clock), 0};
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/status";
  if (std::FILE* const status = std::fopen(path.c_str(), "re")) {
    for (char text[256]; std::fgets(text, sizeof text, status) != nullptr;) {
      const char* const at = std::strstr(text, "voluntary_ctxt_switches:");
      if (at != nullptr) used.switches += std::atof(std::strchr(at, ':') + 1);
    }
    std::fclose(status);
  }
  return used;
}

/// Threads that compute without end, of this process or each in a process of its own.
class neighbours {
 public:
  /// `who`: 0, or a number and t for threads or p for processes. Made before any thread, since it
  /// forks.
  explicit neighbours(std::string_view who) {
    std::size_t count = 0;
    const auto [end, error] = std::from_chars(who.data(), who.data() + who.size(), count);
    const std::string_view kind = who.substr(static_cast<std::size_t>(end - who.data()));
    if (error != std::errc() || count > most || (kind != "t" && kind != "p" && who != "0")) {
      fail("neighbours are 0, or a number and t or p, not '" + std::string(who) + "'");
    }
    void* const shared = ::mmap(nullptr, sizeof(place) * most, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("no memory");
    places_ = static_cast<place*>(shared);
    for (std::size_t i = 0; i < count; ++i) {
      place& own = *::new (places_ + i) place;
      if (kind == "p") {
        processes_.push_back(start_process(own));
      } else {
        threads_.emplace_back([&own](std::stop_token stop) {
          own.thread = static_cast<pid_t>(::syscall(SYS_gettid));
          while (!stop.stop_requested()) own.work();
        });
      }
    }
    count_ = count;
    for (std::size_t i = 0; i < count; ++i) {
      while (places_[i].done.load() == 0) std::this_thread::yield();
    }
  }
  ~neighbours() {
    for (const pid_t one : processes_) ::kill(one, SIGKILL);
    for (const pid_t one : processes_) ::waitpid(one, nullptr, 0);
    threads_.clear();
    ::munmap(places_, sizeof(place) * most);
  }
  neighbours(const neighbours&) = delete;
  neighbours& operator=(const neighbours&) = delete;

  bool is_nobody() const { return count_ == 0; }

  /// What they have done so far, in a unit of their own.
  double done() const {
    double sum = 0;
    for (std::size_t i = 0; i < count_; ++i) sum += static_cast<double>(places_[i].done.load());
    return sum;
  }
  /// What those that are threads of this process have used.
  usage used() const {
    usage sum;
    for (std::size_t i = 0; i < threads_.size(); ++i) sum += thread_usage(places_[i].thread);
    return sum;
  }

 private:
  static constexpr std::size_t most = 1024;

  struct alignas(128) place {
    std::atomic<std::uint64_t> done{0};
    std::atomic<pid_t> thread{0};
    void work() {
      compute(256);
      done.store(done.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  };

  static pid_t start_process(place& own) {
    const pid_t child = ::fork();
    if (child < 0) fail("fork failed");
    if (child > 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(600);
    for (;;) own.work();
  }

  place* places_ = nullptr;
  std::size_t count_ = 0;
  std::vector<pid_t> processes_;
  std::vector<std::jthread> threads_;
};

}  // namespace bench

#endif  // FANOUT_BENCHMARKS_NEIGHBOURS_HPP
