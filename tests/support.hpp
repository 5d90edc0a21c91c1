// What the tests share: gates, occupied workers, and a platform that counts.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_SUPPORT_HPP
#define FANOUT_TESTS_SUPPORT_HPP

#include <atomic>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fanout/fanout.hpp>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

namespace support {

/// Holds back whoever waits at it until it is opened; it never closes again.
class gate {
 public:
  void open() {
    const std::lock_guard hold(mutex_);
    open_ = true;
    opened_.notify_all();  // under the mutex: the last to pass may destroy the gate
  }
  void wait() {
    std::unique_lock hold(mutex_);
    opened_.wait(hold, [this] { return open_; });
  }
  bool is_open() const {
    const std::lock_guard hold(mutex_);
    return open_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// Looks until `condition` holds. What never holds ends in the test's timeout.
template <class Condition> void wait_until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

/// Keeps every worker of an idle pool busy, so that what is submitted stays in the buffer, until
/// release() or the end of this object.
template <class Pool> class occupied {
 public:
  explicit occupied(Pool& pool) : gate_(std::make_shared<gate>()) {
    for (std::size_t i = 0; i < pool.workers(); ++i) {
      const auto started = std::make_shared<gate>();
      if (pool.try_do([mine = gate_, started] {
            started->open();
            mine->wait();
          })) {
        std::abort();
      }
      started->wait();
    }
  }
  ~occupied() { release(); }
  occupied(const occupied&) = delete;
  occupied& operator=(const occupied&) = delete;

  void release() { gate_->open(); }

 private:
  std::shared_ptr<gate> gate_;
};

/// Runs `f` on a worker of `pool` and returns, here, what it returns.
template <class Pool, class F> auto on_worker(Pool& pool, F f) {
  std::packaged_task<std::invoke_result_t<F&>()> job(std::move(f));
  auto result = job.get_future();
  if (pool.try_do(std::move(job))) std::abort();
  return result.get();
}

/// The elements between two iterators. (Clang 14 cannot compile the views of libstdc++.)
template <class Iterator> struct range {
  Iterator first, last;
  Iterator begin() const noexcept { return first; }
  Iterator end() const noexcept { return last; }
};

template <class Iterator> range(Iterator, Iterator) -> range<Iterator>;

/// An iterator to what is passed on as `Reference`, T& or T&&, with the abilities of `Concept`.
template <class Reference, class Concept> struct pass_as {
  using iterator_concept = Concept;
  using value_type = std::remove_cvref_t<Reference>;
  using difference_type = std::ptrdiff_t;
  std::remove_reference_t<Reference>* at = nullptr;

  Reference operator*() const noexcept { return static_cast<Reference>(*at); }
  pass_as& operator++() noexcept { return ++at, *this; }
  pass_as operator++(int) noexcept { return {at++}; }
  bool operator==(const pass_as&) const = default;
  friend difference_type operator-(const pass_as& a, const pass_as& b) noexcept
    requires std::derived_from<Concept, std::forward_iterator_tag>
  {
    return a.at - b.at;
  }
};

/// `count` elements as a sized forward range of references to rvalues.
template <class T> auto forward_rvalues(T* first, std::size_t count) {
  using iterator = pass_as<T&&, std::forward_iterator_tag>;
  return range<iterator>{{first}, {first + count}};
}

/// `count` elements as a range that can be passed once and does not tell its size.
template <class Reference>
auto input(std::remove_reference_t<Reference>* first, std::size_t count) {
  using iterator = pass_as<Reference, std::input_iterator_tag>;
  return range<iterator>{{first}, {first + count}};
}

/// Submits empty tasks until the pool refuses; returns how many it took.
template <class Pool> std::size_t fill(Pool& pool) {
  std::size_t taken = 0;
  while (!pool.try_do([] {})) ++taken;
  return taken;
}

/// The platform under a pool, counting what the pool does with it.
struct watched_sync : fanout::detail::native_sync {
  inline static std::atomic<std::uint64_t> claims{0};        // successful exchanges of 64-bit words
  inline static std::atomic<std::uint64_t> unparks{0};       // wakes of parked workers
  inline static std::atomic<std::uint64_t> parks{0};         // workers that went to sleep
  inline static std::atomic<std::uint64_t> brief_sleeps{0};  // waits for another's few instructions
  inline static std::atomic<std::uint64_t> blocks{0};        // waits on a condition variable, begun
  inline static std::atomic<std::int64_t> blocked{0};        // waits on a condition variable, now

  // The same, of the asking thread.
  inline static thread_local constinit std::uint64_t own_claims = 0, own_unparks = 0;

  static void reset() {
    claims = 0;
    unparks = 0;
    own_claims = 0;
    own_unparks = 0;
    parks = 0;
    brief_sleeps = 0;
    blocks = 0;
  }

  template <class T> class atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    template <class... Orders>
    bool compare_exchange_weak(T& expected, T desired, Orders... orders) noexcept {
      return counted(std::atomic<T>::compare_exchange_weak(expected, desired, orders...));
    }
    template <class... Orders>
    bool compare_exchange_strong(T& expected, T desired, Orders... orders) noexcept {
      return counted(std::atomic<T>::compare_exchange_strong(expected, desired, orders...));
    }

   private:
    static bool counted(bool exchanged) noexcept {
      if (exchanged && sizeof(T) == 8) {
        claims.fetch_add(1);
        ++own_claims;
      }
      return exchanged;
    }
  };

  /// Counts are taken under the waiter's mutex: who sees the count and then takes that mutex finds
  /// the waiter asleep.
  class condition_variable : public std::condition_variable {
   public:
    template <class... Args> auto wait(Args&&... args) {
      const asleep here;
      return std::condition_variable::wait(std::forward<Args>(args)...);
    }
    template <class... Args> auto wait_until(Args&&... args) {
      const asleep here;
      return std::condition_variable::wait_until(std::forward<Args>(args)...);
    }
    template <class... Args> auto wait_for(Args&&... args) {
      const asleep here;
      return std::condition_variable::wait_for(std::forward<Args>(args)...);
    }

   private:
    struct asleep {
      asleep() {
        blocks.fetch_add(1);
        blocked.fetch_add(1);
      }
      ~asleep() { blocked.fetch_sub(1); }
      asleep(const asleep&) = delete;
      asleep& operator=(const asleep&) = delete;
    };
  };

  static void sleep_briefly() noexcept {
    brief_sleeps.fetch_add(1);
    native_sync::sleep_briefly();
  }
  static void park(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    parks.fetch_add(1);
    native_sync::park(word, expected);
  }
  static void unpark_one(std::atomic<std::uint32_t>& word) noexcept {
    unparks.fetch_add(1);
    ++own_unparks;
    native_sync::unpark_one(word);
  }
};

struct watched_policy : fanout::default_policy {
  using sync = watched_sync;
};
using watched_pool = fanout::basic_pool<watched_policy>;

}  // namespace support

#endif  // FANOUT_TESTS_SUPPORT_HPP
