// The implementations that are compared, each behind the same few members:
//
//   name, kind            its name in results; fanout, delayed (fanout with a wake delay), pool
//                         (complete), queue (bare), limit (of what can be reached), or baseline
//                         (another version of fanout: such a program has nobody else)
//   P(workers)            starts that many workers; the bound is bench::buffer waiting tasks
//   P::port               what one submitting thread needs; made from a P&
//   port.try_submit(t)    submits, or says false when the bound is reached
//   port.submit(t)        submits, blocking at the bound; only where the implementation has that
//   close()               runs what was accepted and joins the workers
//
// Each is used as its own documentation recommends. Where one has no bound of its own, it is given
// the cheapest that its interface allows, and the comment says which.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_BENCHMARKS_PEERS_HPP
#define FANOUT_BENCHMARKS_PEERS_HPP

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <fanout/fanout.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

// FANOUT_BENCH_TBB is defined by CMake where oneTBB is found, since it must be linked.
#if defined(FANOUT_BENCH_TBB)
#include <oneapi/tbb/concurrent_queue.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#endif
#if __has_include(<asio.hpp>)
#define FANOUT_BENCH_ASIO
#define ASIO_STANDALONE
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#endif
#if __has_include(<concurrentqueue/moodycamel/blockingconcurrentqueue.h>)
#define FANOUT_BENCH_MOODYCAMEL
#include <concurrentqueue/moodycamel/blockingconcurrentqueue.h>
#elif __has_include(<concurrentqueue/blockingconcurrentqueue.h>)
#define FANOUT_BENCH_MOODYCAMEL
#include <concurrentqueue/blockingconcurrentqueue.h>
#endif

namespace bench {

/// The port of an implementation whose submitting threads need nothing of their own.
template <class Pool> struct plain_port {
  Pool& pool;
  explicit plain_port(Pool& to) : pool(to) {}
  bool try_submit(const task& t) { return pool.try_submit(t); }
  void submit(const task& t)
    requires requires { pool.submit(t); }
  {
    pool.submit(t);
  }
};

/// Worker threads, joined when it is destroyed.
class threads {
 public:
  template <class Work> threads(std::size_t count, Work work) {
    for (std::size_t i = 0; i < count; ++i) all_.emplace_back(work);
  }
  void join() {
    for (auto& one : all_) one.join();
    all_.clear();
  }

 private:
  std::vector<std::jthread> all_;
};

/// Counts waiting tasks, for an executor that has no bound: a submitter adds one or is refused, the
/// task takes it back as it starts. The load first keeps refusals from writing.
class waiting_limit {
 public:
  bool admit() noexcept {
    if (waiting_.load(std::memory_order_relaxed) >= buffer) return false;
    if (waiting_.fetch_add(1, std::memory_order_relaxed) < buffer) return true;
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void start() noexcept { waiting_.fetch_sub(1, std::memory_order_release); }
  void wait_until_none() const {
    while (waiting_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }

 private:
  alignas(128) std::atomic<std::size_t> waiting_{0};
};

/// This library.
class fanout_pool {
 public:
#if defined(FANOUT_BENCH_BASELINE)
  static constexpr std::string_view name = "baseline", kind = "baseline";
#else
  static constexpr std::string_view name = "fanout", kind = "fanout";
#endif
  using port = plain_port<fanout_pool>;

  explicit fanout_pool(std::size_t workers)
      : fanout_pool({.name = "bench", .workers = workers, .buffer = buffer}) {}
  bool try_submit(const task& t) { return !pool_.try_do(t); }
  void submit(const task& t) {
    if (pool_.do_wait(t)) fail("do_wait was refused");
  }
  void close() { pool_.close(); }

 protected:
  explicit fanout_pool(const fanout::options& o) : pool_(o) {}

 private:
  fanout::pool pool_;
};

template <class Options>
concept has_wake_delay = requires(Options o) { o.wake_delay = std::chrono::milliseconds(1); };

/// This library where a task may wait a millisecond for company. Options is fanout::options.
template <class Options> class delayed_pool : public fanout_pool {
 public:
  static constexpr std::string_view name = "fanout_delay", kind = "delayed";
  static constexpr std::chrono::milliseconds delay{1};
  using port = plain_port<delayed_pool>;

  explicit delayed_pool(std::size_t workers) : fanout_pool(with_delay(workers)) {}

 private:
  static Options with_delay(std::size_t workers) {
    Options o{.name = "bench", .workers = workers, .buffer = buffer};
    o.wake_delay = delay;
    return o;
  }
};

#if !defined(FANOUT_BENCH_BASELINE)
/// The limit: the ring of this library, bare, with its back-off and its prefetch. The task lies in
/// the slot and is called directly. Workers search as the pool's do, and yield where the pool's
/// would sleep, so that nobody is ever woken. The better of two counts: all workers search, or there
/// is one, whatever was asked for, since for tiny tasks more of them only take turns.
template <bool IsOne> class bare_ring {
 public:
  static constexpr std::string_view name = IsOne ? "ring_of_one" : "ring", kind = "limit";
  using port = plain_port<bare_ring>;

  explicit bare_ring(std::size_t workers) : workers_(IsOne ? 1 : workers, [this] { work(); }) {}
  bool try_submit(const task& t) {
    position at = 0;
    if (!claim_back(ring_, at)) return false;
    ::new (static_cast<void*>(ring_.at(at).storage)) task(t);
    ring_.publish(ring_.at(at), at);
    return true;
  }
  void close() {
    ring_.close();
    workers_.join();
  }

 private:
  using sync = fanout::detail::native_sync;
  struct alignas(64) own_slot {
    std::atomic<std::uint64_t> stamp{0};
    alignas(task) std::byte storage[sizeof(task)];
  };

  // The header's ring has had the parameters (Policy), its slot being the pool's, and (Slot, Sync).
  template <template <class> class Ring> static Ring<fanout::default_policy>* ring_of();
  template <template <class, class> class Ring> static Ring<own_slot, sync>* ring_of();
  using ring = std::remove_pointer_t<decltype(ring_of<fanout::detail::ring>())>;
  using slot = std::remove_reference_t<decltype(std::declval<ring&>().at(0))>;
  using position = std::uint64_t;

  template <class Ring> static bool claim_back(Ring& in, position& at) {
    if constexpr (requires { in.claim_back(1).first; }) {
      const auto claimed = in.claim_back(1);
      at = claimed.first;
      return claimed.count != 0;
    } else {
      fanout::errc why{};
      return in.claim_back(1, at, why) != 0;
    }
  }

  void work() {
    for (unsigned looks = 0;;) {
      position at = 0;
      if (slot* const taken = ring_.claim_front(at)) {
        const task t = *std::launder(reinterpret_cast<task*>(taken->storage));
        ring_.vacate(*taken, at);
        t();
        looks = 0;
      } else if (ring_.is_drained()) {
        return;
      } else if (looks < 4) {
        for (unsigned i = 0; i < 1u << looks; ++i) sync::pause();
        ++looks;
      } else {
        std::this_thread::yield();
      }
    }
  }

  const std::unique_ptr<slot[]> slots_ = std::make_unique<slot[]>(buffer);
  ring ring_{slots_.get(), buffer};
  threads workers_;
};

/// The pool of the textbooks: a deque of std::function under a mutex, two condition variables, a
/// bound; it catches what tasks throw and drains on close.
class mutex_pool {
 public:
  static constexpr std::string_view name = "mutex_pool", kind = "pool";
  using port = plain_port<mutex_pool>;

  explicit mutex_pool(std::size_t workers) : workers_(workers, [this] { work(); }) {}
  bool try_submit(const task& t) {
    {
      const std::lock_guard hold(mutex_);
      if (is_closed_ || tasks_.size() >= buffer) return false;
      tasks_.emplace_back(t);
    }
    not_empty_.notify_one();
    return true;
  }
  void submit(const task& t) {
    {
      std::unique_lock hold(mutex_);
      not_full_.wait(hold, [this] { return tasks_.size() < buffer; });
      tasks_.emplace_back(t);
    }
    not_empty_.notify_one();
  }
  void close() {
    {
      const std::lock_guard hold(mutex_);
      is_closed_ = true;
    }
    not_empty_.notify_all();
    workers_.join();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock hold(mutex_);
      not_empty_.wait(hold, [this] { return is_closed_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> run = std::move(tasks_.front());
      tasks_.pop_front();
      hold.unlock();
      not_full_.notify_one();
      try {
        run();
      } catch (const std::exception& e) {
        std::fprintf(stderr, "a task failed: %s\n", e.what());
      } catch (...) {
        std::fputs("a task failed\n", stderr);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable not_empty_, not_full_;
  std::deque<std::function<void()>> tasks_;
  bool is_closed_ = false;
  threads workers_;
};

#if defined(FANOUT_BENCH_TBB)
/// oneTBB's task_arena: enqueue() into an arena with a slot for each worker and none kept for the
/// caller. It has no bound; waiting_limit gives it one. Tasks start in no strict order.
class tbb_arena {
 public:
  static constexpr std::string_view name = "tbb_arena", kind = "pool";
  using port = plain_port<tbb_arena>;

  explicit tbb_arena(std::size_t workers)
      : parallelism_(tbb::global_control::max_allowed_parallelism, workers + 1),
        arena_(static_cast<int>(workers), 0) {
    arena_.initialize();
  }
  bool try_submit(const task& t) {
    if (!limit_.admit()) return false;
    arena_.enqueue([this, t] {
      limit_.start();
      t();
    });
    return true;
  }
  void wait_until_none_waits() const { limit_.wait_until_none(); }
  void close() { wait_until_none_waits(); }

 private:
  tbb::global_control parallelism_;  // the default counts cores, not the arena's slots
  waiting_limit limit_;
  tbb::task_arena arena_;
};

/// oneTBB's concurrent_bounded_queue of std::function, and threads that pop. An empty function ends
/// one of them.
class tbb_queue {
 public:
  static constexpr std::string_view name = "tbb_queue", kind = "queue";
  using port = plain_port<tbb_queue>;

  explicit tbb_queue(std::size_t workers)
      : count_(workers), queue_(capped()), workers_(workers, [this] { work(); }) {}
  bool try_submit(const task& t) { return queue_->try_emplace(t); }  // refusing makes no function
  void submit(const task& t) { queue_->emplace(t); }
  void close() {
    for (std::size_t i = 0; i < count_; ++i) queue_->emplace();
    workers_.join();
  }

 private:
  using queue = tbb::concurrent_bounded_queue<std::function<void()>>;

  static std::unique_ptr<queue> capped() {
    auto made = std::make_unique<queue>();
    made->set_capacity(static_cast<std::ptrdiff_t>(buffer));
    return made;
  }
  void work() {
    for (std::function<void()> run;;) {
      queue_->pop(run);
      if (!run) return;
      run();
    }
  }

  const std::size_t count_;
  const std::unique_ptr<queue> queue_;
  threads workers_;
};
#endif

#if defined(FANOUT_BENCH_ASIO)
/// asio::thread_pool with asio::post. It has no bound; waiting_limit gives it one.
class asio_pool {
 public:
  static constexpr std::string_view name = "asio", kind = "pool";
  using port = plain_port<asio_pool>;

  explicit asio_pool(std::size_t workers) : pool_(workers) {}
  bool try_submit(const task& t) {
    if (!limit_.admit()) return false;
    asio::post(pool_, [this, t] {
      limit_.start();
      t();
    });
    return true;
  }
  void close() { pool_.join(); }

 private:
  waiting_limit limit_;
  asio::thread_pool pool_;
};
#endif

#if defined(FANOUT_BENCH_MOODYCAMEL)
/// moodycamel's BlockingConcurrentQueue of std::function, with a token for each producer and each
/// consumer, and threads that dequeue. Its size is one load, so the bound is a look at that; P
/// producers may exceed it by P - 1. An empty function ends a thread.
class moodycamel_queue {
  using queue = moodycamel::BlockingConcurrentQueue<std::function<void()>>;

 public:
  static constexpr std::string_view name = "moodycamel", kind = "queue";

  class port {
   public:
    explicit port(moodycamel_queue& to) : queue_(to.queue_), token_(queue_) {}
    bool try_submit(const task& t) {
      if (queue_.size_approx() >= buffer) return false;
      return queue_.enqueue(token_, std::function<void()>(t));
    }

   private:
    queue& queue_;
    moodycamel::ProducerToken token_;
  };

  explicit moodycamel_queue(std::size_t workers)
      : count_(workers), queue_(buffer), workers_(workers, [this] { work(); }) {}
  void close() {
    // Producers are served in no order among each other: the end must not overtake a task.
    while (queue_.size_approx() != 0) std::this_thread::yield();
    for (std::size_t i = 0; i < count_; ++i) queue_.enqueue(std::function<void()>());
    workers_.join();
  }

 private:
  void work() {
    moodycamel::ConsumerToken token(queue_);
    for (std::function<void()> run;;) {
      queue_.wait_dequeue(token, run);
      if (!run) return;
      run();
    }
  }

  const std::size_t count_;
  queue queue_;
  threads workers_;
};
#endif
#endif  // FANOUT_BENCH_BASELINE

template <class... Pools> struct pool_list {
  /// Calls f.template operator()<Pool>() for each.
  template <class F> static void each(F f) { (f.template operator()<Pools>(), ...); }

  /// The same for the one of that name.
  template <class F> static void with(std::string_view name, F f) {
    bool is_known = false;
    const auto look = [&]<class Pool>() {
      if (Pool::name != name) return;
      is_known = true;
      f.template operator()<Pool>();
    };
    (look.template operator()<Pools>(), ...);
    if (!is_known) fail("there is no implementation '" + std::string(name) + "' here");
  }

  /// Prints a line for each: its name, its kind, and whether its submit() may block.
  static void print() {
    each([]<class Pool>() {
      const bool can_block = requires(typename Pool::port p, task t) { p.submit(t); };
      std::printf("%s %s %s\n", Pool::name.data(), Pool::kind.data(), can_block ? "wait" : "-");
    });
  }
};

#if defined(FANOUT_BENCH_BASELINE)
using all_pools = pool_list<fanout_pool>;
#else
using all_pools = pool_list<fanout_pool, bare_ring<false>, bare_ring<true>, mutex_pool
#if defined(FANOUT_BENCH_TBB)
                            ,
                            tbb_arena, tbb_queue
#endif
#if defined(FANOUT_BENCH_ASIO)
                            ,
                            asio_pool
#endif
#if defined(FANOUT_BENCH_MOODYCAMEL)
                            ,
                            moodycamel_queue
#endif
                            >;
#endif

/// all_pools with the delayed pool behind fanout's, where the header has that option.
template <class Options, class List> struct with_delayed {
  using type = List;
};
template <has_wake_delay Options, class First, class... Rest>
struct with_delayed<Options, pool_list<First, Rest...>> {
  using type = pool_list<First, delayed_pool<Options>, Rest...>;
};
using service_pools = with_delayed<fanout::options, all_pools>::type;

}  // namespace bench

#endif  // FANOUT_BENCHMARKS_PEERS_HPP
