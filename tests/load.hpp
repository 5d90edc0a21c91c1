// What tests under load share: choices that can be made again, a bit for each task, producers that
// mix every way of submitting, and a watchdog.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_LOAD_HPP
#define FANOUT_TESTS_LOAD_HPP

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define FANOUT_TESTS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define FANOUT_TESTS_SANITIZED 1
#endif
#endif

namespace support {

/// `n`, or a tenth of it where a sanitizer, or an emulator (FANOUT_TESTS_BRIEF), makes steps dearer.
constexpr std::size_t load(std::size_t n) {
#if defined(FANOUT_TESTS_SANITIZED) || defined(FANOUT_TESTS_BRIEF)
  return n / 10;
#else
  return n;
#endif
}

// --- Choices

/// Where all random choices of a program come from. FANOUT_TEST_SEED makes them again; what the
/// scheduler does with them, it does not replay.
inline std::uint64_t seed() {
  static const std::uint64_t chosen = [] {
    const char* const given = std::getenv("FANOUT_TEST_SEED");
    const std::uint64_t value =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::printf("FANOUT_TEST_SEED=%llu\n", static_cast<unsigned long long>(value));
    std::fflush(stdout);
    return value;
  }();
  return chosen;
}

/// A stream of choices. Streams of different numbers differ, the same number gives the same.
class dice {
 public:
  explicit dice(std::uint64_t stream) {
    std::seed_seq from{static_cast<std::uint32_t>(seed()), static_cast<std::uint32_t>(seed() >> 32),
                       static_cast<std::uint32_t>(stream),
                       static_cast<std::uint32_t>(stream >> 32)};
    from.generate(state_.begin(), state_.end());
    engine_.seed((std::uint64_t{state_[1]} << 32) + state_[0]);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }

 private:
  std::array<std::uint32_t, 2> state_{};
  std::mt19937_64 engine_;
};

/// Passes up to `most` rounds of nothing.
inline void think(dice& draw, std::size_t most) {
  for (std::size_t n = draw.below(most + 1); n > 0; --n) fanout::detail::native_sync::pause();
}

/// The platform under a pool, where any thread may lose its core before any atomic operation: what
/// takes many cores to happen now and then happens all the time on few.
struct stirred_sync : fanout::detail::native_sync {
  static void stir() noexcept {
    own_state() = own_state() * 6364136223846793005u + 1442695040888963407u;
    if (own_state() >> 60 == 0) std::this_thread::yield();
  }

  template <class T> class atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
      stir();
      return std::atomic<T>::load(order);
    }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
      stir();
      std::atomic<T>::store(value, order);
    }
    template <class... Orders>
    bool compare_exchange_weak(T& expected, T desired, Orders... orders) noexcept {
      stir();
      return std::atomic<T>::compare_exchange_weak(expected, desired, orders...);
    }
  };

 private:
  static std::uint64_t& own_state() noexcept {
    static std::atomic<std::uint64_t> threads{0};
    thread_local std::uint64_t state = ++threads * 0x9e3779b97f4a7c15u;
    return state;
  }
};

/// While it lives, this thread and those that it starts share one core. False: not possible here.
class one_core {
 public:
  one_core() {
#if defined(__linux__)
    if (::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    std::size_t first = 0;
    while (first + 1 < CPU_SETSIZE && !CPU_ISSET(first, &before_)) ++first;
    CPU_SET(first, &one);
    is_pinned_ = ::sched_setaffinity(0, sizeof one, &one) == 0;
#endif
  }
  ~one_core() {
#if defined(__linux__)
    if (is_pinned_) ::sched_setaffinity(0, sizeof before_, &before_);
#endif
  }
  one_core(const one_core&) = delete;
  one_core& operator=(const one_core&) = delete;
  explicit operator bool() const { return is_pinned_; }

 private:
#if defined(__linux__)
  cpu_set_t before_{};
#endif
  bool is_pinned_ = false;
};

// --- What is seen

/// One bit for each task: set twice is a duplicate, not set is lost. Sums would let one hide the
/// other.
class bitmap {
 public:
  explicit bitmap(std::size_t n) : words_((n + 63) / 64) {}

  void set(std::size_t i) {
    const std::uint64_t bit = std::uint64_t{1} << (i % 64);
    if ((words_[i / 64].fetch_or(bit, std::memory_order_relaxed) & bit) != 0) ++duplicates_;
  }
  void clear() {
    for (auto& word : words_) word.store(0, std::memory_order_relaxed);
  }
  std::size_t duplicates() const { return duplicates_; }
  bool operator==(const bitmap& other) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (words_[i].load() != other.words_[i].load()) return false;
    }
    return true;
  }

 private:
  std::vector<std::atomic<std::uint64_t>> words_;
  std::atomic<std::size_t> duplicates_{0};
};

/// Ends the program when the pool makes no progress: a lost wake-up says what it is.
template <class Pool> class watchdog {
 public:
  watchdog(const Pool& p, std::string where)
      : thread_([this, &p, where = std::move(where)](const std::stop_token& stop) {
          using namespace std::chrono_literals;
          std::unique_lock hold(mutex_);
          for (auto before = p.stats();;) {
            if (over_.wait_for(hold, stop, 20s, [] { return false; }) || stop.stop_requested()) {
              return;
            }
            const auto now = p.stats();
            if (now.accepted == before.accepted && now.completed == before.completed) {
              std::fprintf(stderr,
                           "no progress: %s; %llu accepted, %llu completed, %zu waiting; "
                           "FANOUT_TEST_SEED=%llu\n",
                           where.c_str(), static_cast<unsigned long long>(now.accepted),
                           static_cast<unsigned long long>(now.completed), now.queued,
                           static_cast<unsigned long long>(seed()));
              std::abort();
            }
            before = now;
          }
        }) {}

 private:
  std::mutex mutex_;
  std::condition_variable_any over_;
  std::jthread thread_;  // ends before the rest
};

/// A task that sets its bit, and tells whether it was moved from. With ballast it needs a box.
template <std::size_t Ballast> class marking_task {
 public:
  marking_task(bitmap& ran, std::size_t i, std::size_t work) noexcept
      : ran_(&ran), i_(i), work_(work) {}
  marking_task(marking_task&& other) noexcept
      : ran_(std::exchange(other.ran_, nullptr)), i_(other.i_), work_(other.work_) {}

  void operator()() {
    for (; work_ > 0; --work_) fanout::detail::native_sync::pause();
    ran_->set(i_);
  }
  bool is_untouched() const { return ran_ != nullptr; }

 private:
  bitmap* ran_;
  std::size_t i_, work_;
  std::array<char, Ballast> ballast_{};
};

/// What producers were answered. `touched` counts refused tasks that were moved from.
struct answers {
  std::uint64_t attempts = 0, accepted = 0, full = 0, timed_out = 0, closed = 0;
  std::uint64_t calls_full = 0;  // of try_do and try_do_bulk, which stats().rejected counts
  std::uint64_t touched = 0;

  answers& operator+=(const answers& more) {
    attempts += more.attempts;
    accepted += more.accepted;
    full += more.full;
    timed_out += more.timed_out;
    closed += more.closed;
    calls_full += more.calls_full;
    touched += more.touched;
    return *this;
  }
};

/// How one producer goes about it.
struct plan {
  std::size_t first = 0, last = 0;  // its tasks
  std::uint64_t stream = 0;         // of its choices
  bool insists = true;  // offers a refused task again, and goes home when the pool is closed
  std::size_t rest_one_in = 8;  // how often it thinks
};

/// A producer of tasks that set bits of `ran`; what was accepted it notes in `accepted`. It keeps to
/// one way of submitting, so that a wake-up lost by that way is not made up for by another, or
/// mixes them all.
template <class Pool> class producer {
 public:
  producer(Pool& pool, bitmap& accepted, bitmap& ran, std::atomic<std::size_t>& offered)
      : pool_(pool), accepted_(accepted), ran_(ran), offered_(offered) {}

  answers run(const plan& p) {
    plan_ = p;
    dice draw(p.stream);
    const auto habit = static_cast<way>(draw.below(2 * ways));
    for (std::size_t i = p.first; i < p.last;) {
      offered_.store(i - p.first, std::memory_order_relaxed);
      const way how = habit < mixed ? habit : static_cast<way>(draw.below(ways));
      if (draw.one_in(p.rest_one_in)) think(draw, 200);
      const std::size_t work = draw.one_in(16) ? draw.below(200) : 0;
      const std::size_t taken = how == bulk      ? offer_many(draw, i, work)
                                : draw.one_in(8) ? offer<64>(draw, how, i, work)
                                                 : offer<0>(draw, how, i, work);
      if (is_closed_ && p.insists) break;
      if (taken == 0) std::this_thread::yield();
      i += taken;
    }
    offered_.store(p.last - p.first, std::memory_order_relaxed);
    return count_;
  }

 private:
  enum way : std::size_t { try_do, do_wait, do_wait_stop, try_do_for, bulk, mixed };
  static constexpr std::size_t ways = mixed;

  void note(std::error_code err, std::size_t n, bool untouched) {
    if (err == fanout::errc::full) {
      count_.full += n;
    } else if (err == fanout::errc::timed_out) {
      count_.timed_out += n;
    } else if (err == fanout::errc::closed) {
      count_.closed += n;
      is_closed_ = true;
    } else {
      std::abort();
    }
    if (!untouched) ++count_.touched;
  }

  template <std::size_t Ballast>
  std::size_t offer(dice& draw, way how, std::size_t i, std::size_t work) {
    marking_task<Ballast> task(ran_, i, work);
    ++count_.attempts;
    const std::error_code err =
        how == try_do    ? pool_.try_do(std::move(task))
        : how == do_wait ? pool_.do_wait(std::move(task))
        : how == do_wait_stop
            ? pool_.do_wait(std::move(task), stop_.get_token())
            : pool_.try_do_for(std::chrono::microseconds(draw.below(60)), std::move(task));
    if (!err) {
      accepted_.set(i);
      ++count_.accepted;
      return 1;
    }
    note(err, 1, task.is_untouched());
    if (how == try_do && err == fanout::errc::full) ++count_.calls_full;
    return plan_.insists ? 0 : 1;
  }

  std::size_t offer_many(dice& draw, std::size_t i, std::size_t work) {
    const std::size_t n = 1 + draw.below(std::min<std::size_t>(8, plan_.last - i));
    std::vector<marking_task<0>> tasks;
    tasks.reserve(n);
    for (std::size_t k = 0; k < n; ++k) tasks.emplace_back(ran_, i + k, work);
    count_.attempts += n;
    const auto result = pool_.try_do_bulk(forward_rvalues(tasks.data(), n));
    for (std::size_t k = 0; k < result.accepted; ++k) accepted_.set(i + k);
    count_.accepted += result.accepted;
    if (result.accepted < n) {
      bool untouched = true;
      for (std::size_t k = result.accepted; k < n; ++k) untouched &= tasks[k].is_untouched();
      note(result.error, n - result.accepted, untouched);
      if (result.error == fanout::errc::full) ++count_.calls_full;
    }
    return plan_.insists ? result.accepted : n;
  }

  Pool& pool_;
  bitmap &accepted_, &ran_;
  std::atomic<std::size_t>& offered_;
  plan plan_;
  answers count_;
  bool is_closed_ = false;
  std::stop_source stop_;  // nobody uses it
};

}  // namespace support

#endif  // FANOUT_TESTS_LOAD_HPP
