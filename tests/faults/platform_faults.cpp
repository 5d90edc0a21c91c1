// What the kernel and the platform may do: kill for system calls that the pool need not make,
// interrupt every call, and wake who was not to be woken.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "faults.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::detail::native_sync;

struct sleepy : fanout::default_policy {
  static constexpr unsigned spins = 0;
};

/// Submits one task at a time to a pool whose workers sleep in between as they like.
template <class Pool> std::string run_one_by_one(Pool& p, std::size_t tasks) {
  std::atomic<std::size_t> ran{0};
  support::dice draw(7);
  for (std::size_t i = 1; i <= tasks; ++i) {
    if (p.try_do([&] { ++ran; })) return "a task was refused";
    support::wait_until([&] { return ran == i; });
    support::think(draw, 500);
  }
  return "each task ran once";
}

template <class Pool> std::string run_both(Pool& p) {
  const auto seen = run_one_by_one(p, support::load(20'000));
  return seen != "each task ran once" ? seen : faults::run_exactly_once(p, support::load(40'000));
}

// --- A sandbox

/// From now on this thread, and those it starts, die of membarrier(2) and sched_yield(2), as of any
/// call that interrupts others or gives their time away. Says whether that is so.
bool forbid_what_is_not_needed() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_yield, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program) == 0;
}

/// Submitters that block, waiters and workers, all of them in the sandbox.
std::string work_in_a_sandbox() {
  std::string seen;
  std::thread([&] {
    if (!forbid_what_is_not_needed()) {
      seen = "skipped: no seccomp filter here";
      return;
    }
    std::atomic<std::size_t> ran{0};
    const std::size_t each = support::load(20'000);
    for (const auto delay : {0us, 100us}) {
      fanout::basic_pool<sleepy> p{{.workers = 3, .buffer = 4, .wake_delay = delay}};
      const auto submit = [&] {
        for (std::size_t i = 0; i < each; ++i) {
          if (p.do_wait([&] { ++ran; })) return;
          if (i % 64 == 0 && p.wait_idle_for(1h)) return;
        }
      };
      std::thread other(submit);
      submit();
      other.join();
      if (p.close()) seen = "close failed";
    }
    if (seen.empty()) {
      seen = ran == 4 * each ? "each task ran once" : std::to_string(ran) + " tasks ran";
    }
  }).join();
  return seen;
}

/// The filter is one: a call that it forbids kills.
std::string yield_in_a_sandbox() {
  if (!forbid_what_is_not_needed()) return "skipped: no seccomp filter here";
  std::this_thread::yield();
  return "lives";
}

// --- Signals

std::atomic<std::uint64_t> interruptions{0};
std::atomic<bool> pesters{true};

/// Sends a signal to every other thread of this process, thousands of times a second.
void pester() {
  const pid_t process = ::getpid();
  const pid_t self = ::gettid();
  while (pesters) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
      const auto thread = static_cast<pid_t>(std::atoi(entry.path().filename().c_str()));
      if (thread != self) ::syscall(SYS_tgkill, process, thread, SIGUSR1);
    }
    const timespec pause{0, 100'000};
    ::nanosleep(&pause, nullptr);
  }
}

std::string interrupt_everything() {
  struct sigaction action {};
  action.sa_handler = [](int) { interruptions.fetch_add(1); };  // no SA_RESTART
  ::sigaction(SIGUSR1, &action, nullptr);
  std::thread pesterer(pester);
  std::string seen = "each task ran once";
  for (bool in_time = true; seen == "each task ran once" && (in_time || interruptions < 5000);
       in_time = false) {
    fanout::basic_pool<sleepy> p{{.workers = 3, .buffer = 2}};
    seen = run_both(p);
  }
  if (seen == "each task ran once") {
    fanout::pool p{{.buffer = 1}};
    const support::occupied busy(p);
    const auto began = std::chrono::steady_clock::now();
    if (p.try_do([] {})) seen = "the buffer is too small";
    if (p.try_do_for(30ms, [] {}) != fanout::errc::timed_out) seen = "try_do_for gave up";
    if (p.wait_idle_for(30ms) != fanout::errc::timed_out) seen = "wait_idle_for gave up";
    if (std::chrono::steady_clock::now() - began < 60ms) seen = "a deadline came early";
  }
  pesters = false;
  pesterer.join();
  return seen + ", deadlines kept";
}

// --- Wakes without cause

/// Shows which word workers park on.
struct exposed_sync : native_sync {
  inline static std::atomic<std::atomic<std::uint32_t>*> word{nullptr};
  static void park(std::atomic<std::uint32_t>& on, std::uint32_t expected) noexcept {
    word = &on;
    native_sync::park(on, expected);
  }
};
struct exposed : sleepy {
  using sync = exposed_sync;
};

std::string wake_the_parking_word() {
  std::atomic<bool> over{false};
  std::uint64_t woken = 0;
  std::string seen;
  {
    fanout::basic_pool<exposed> p{{.workers = 4, .buffer = 2}};
    std::thread waker([&] {
      while (!over) {
        if (auto* const word = exposed_sync::word.load()) {
          const auto n =
              ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
          if (n > 0) woken += static_cast<std::uint64_t>(n);
        }
      }
    });
    seen = run_both(p);
    over = true;
    waker.join();
  }
  return woken > 1000 ? seen : "too few stray wakes: " + std::to_string(woken);
}

/// One in two, on any thread.
bool coin() {
  static std::atomic<std::uint64_t> threads{0};
  thread_local support::dice draw(1000 + threads++);
  return draw.one_in(2);
}

struct restless_sync : native_sync {
  static void park(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    if (coin()) native_sync::park(word, expected);
  }

  class condition_variable : public std::condition_variable {
   public:
    template <class... Args> void wait(std::unique_lock<std::mutex>& hold, Args&&... args) {
      if (coin()) return awake(hold);
      std::condition_variable::wait(hold, std::forward<Args>(args)...);
    }
    template <class Time>
    std::cv_status wait_until(std::unique_lock<std::mutex>& hold, Time until) {
      if (coin()) return awake(hold), std::cv_status::no_timeout;
      return std::condition_variable::wait_until(hold, until);
    }

   private:
    static void awake(std::unique_lock<std::mutex>& hold) {
      hold.unlock();
      hold.lock();
    }
  };
};
struct restless : sleepy {
  using sync = restless_sync;
};

std::string return_without_cause() {
  fanout::basic_pool<restless> p{{.workers = 4, .buffer = 2}};
  return run_both(p);
}

constexpr auto once = "each task ran once";

const bool added = faults::add(
    {{"a sandbox", "kills for membarrier(2) and sched_yield(2) (seccomp)", once, work_in_a_sandbox},
     {"a sandbox", "kills for a sched_yield(2) of a task (seccomp)", "Bad system call",
      yield_in_a_sandbox},
     {"every thread", "5,000 signals or more, kHz, no SA_RESTART",
      "each task ran once, deadlines kept", interrupt_everything},
     {"the parking word", "futex wakes without cause, all the time", once, wake_the_parking_word},
     {"park and condition variables", "every second wait returns without cause", once,
      return_without_cause}});

}  // namespace
