// Exactly once, no wake-up lost, and close decided for each submission: under load.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::ErrClosed;
using fanout::ErrFull;

struct no_spins : fanout::default_policy {
  static constexpr unsigned spins = 0;
  static constexpr unsigned yields = 0;
};

/// One bit for each task: set twice is a duplicate, not set is lost.
class bitmap {
 public:
  explicit bitmap(std::size_t n) : size_(n), words_((n + 63) / 64) {}
  void set(std::size_t i) {
    const std::uint64_t bit = std::uint64_t{1} << (i % 64);
    if ((words_[i / 64].fetch_or(bit, std::memory_order_relaxed) & bit) != 0) ++duplicates_;
  }
  bool has(std::size_t i) const { return (words_[i / 64] >> (i % 64) & 1) != 0; }
  std::size_t duplicates() const { return duplicates_; }
  std::size_t lost() const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < size_; ++i) n += has(i) ? 0u : 1u;
    return n;
  }

 private:
  std::size_t size_;
  std::vector<std::atomic<std::uint64_t>> words_;
  std::atomic<std::size_t> duplicates_{0};
};

/// Ends the program when the pool makes no progress: a lost wake-up says what it is.
template <class Pool> class watchdog {
 public:
  explicit watchdog(const Pool& p)
      : thread_([this, &p](const std::stop_token& stop) {
          std::unique_lock hold(mutex_);
          for (auto before = p.stats();;) {
            if (over_.wait_for(hold, stop, 20s, [] { return false; }) || stop.stop_requested()) {
              return;
            }
            const auto now = p.stats();
            if (now.accepted == before.accepted && now.completed == before.completed) {
              std::fprintf(stderr, "no progress: %llu accepted, %llu completed, %zu waiting\n",
                           static_cast<unsigned long long>(now.accepted),
                           static_cast<unsigned long long>(now.completed), now.queued);
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

/// Runs `producers` threads that submit tasks 0 to n-1 between them by `submit`.
template <class Submit> void produce(std::size_t producers, std::size_t n, Submit submit) {
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < producers; ++t) {
    threads.emplace_back([=] {
      for (std::size_t i = t; i < n; i += producers) submit(i);
    });
  }
  for (auto& thread : threads) thread.join();
}

template <class Policy> class Stress : public testing::Test {
 protected:
  using pool = fanout::basic_pool<Policy>;
};
struct policy_names {
  template <class Policy> static std::string GetName(int) {
    return std::is_same_v<Policy, no_spins> ? "WithoutSpins" : "WithSpins";
  }
};
using policies = testing::Types<fanout::default_policy, no_spins>;
TYPED_TEST_SUITE(Stress, policies, policy_names);

/// Submits 0 to n-1 by `submit(pool, task)` with every mix of producers, workers and capacities.
template <class Policy, class Submit> void expect_exactly_once(std::size_t n, Submit submit) {
  for (const std::size_t producers : {1u, 2u, 4u}) {
    for (const std::size_t workers : {1u, 2u, 4u, 8u}) {
      for (const std::size_t capacity : {1u, 2u, 3u, 7u, 64u, 1024u}) {
        bitmap ran(n);
        fanout::basic_pool<Policy> p{{.workers = workers, .buffer = capacity}};
        {
          const watchdog<fanout::basic_pool<Policy>> progress(p);
          produce(producers, n, [&](std::size_t i) { submit(p, [&ran, i] { ran.set(i); }); });
          p.close();
        }
        ASSERT_EQ(ran.duplicates(), 0u) << producers << 'x' << workers << ", " << capacity;
        ASSERT_EQ(ran.lost(), 0u) << producers << 'x' << workers << ", " << capacity;
        ASSERT_EQ(p.stats().completed, n);
      }
    }
  }
}

TYPED_TEST(Stress, RetriedTasksRunExactlyOnce) {
  expect_exactly_once<TypeParam>(3000, [](auto& p, auto task) {
    while (p.try_do(task) == ErrFull) std::this_thread::yield();
  });
}

TYPED_TEST(Stress, TasksOfBlockedSubmittersRunExactlyOnce) {
  expect_exactly_once<TypeParam>(3000, [](auto& p, auto task) {
    if (p.do_wait(task)) std::abort();
  });
}

TYPED_TEST(Stress, TasksOfSubmittersWithDeadlinesRunExactlyOnce) {
  expect_exactly_once<TypeParam>(500, [](auto& p, auto task) {
    while (p.try_do_for(50us, task)) {
    }
  });
}

// One task outstanding, the next when it has run: each lost wake-up is a hang.
TYPED_TEST(Stress, OneOutstandingTaskIsNeverLeftLying) {
  for (const std::size_t workers : {1u, 2u, 4u}) {
    typename TestFixture::pool p{{.workers = workers, .buffer = 4}};
    const watchdog<typename TestFixture::pool> progress(p);
    std::atomic<int> ran{0};
    for (int i = 1; i <= 20000; ++i) {
      ASSERT_FALSE(p.try_do([&] { ran.fetch_add(1, std::memory_order_release); }));
      while (ran.load(std::memory_order_acquire) != i) std::this_thread::yield();
    }
    p.close();
  }
}

// Two tasks that need each other, on two workers: neither may stay queued beside a sleeper.
TYPED_TEST(Stress, TwoTasksThatMeetAreBothStarted) {
  typename TestFixture::pool p{{.workers = 2, .buffer = 2}};
  const watchdog<typename TestFixture::pool> progress(p);
  for (int i = 0; i < 5000; ++i) {
    std::atomic<int> arrived{0};
    const auto meet = [&arrived] {
      ++arrived;
      while (arrived != 2) std::this_thread::yield();
    };
    ASSERT_FALSE(p.do_wait(meet));
    ASSERT_FALSE(p.do_wait(meet));
    ASSERT_FALSE(p.wait_idle());
  }
}

struct setter {
  bitmap* ran;
  std::size_t i;
  std::shared_ptr<int> held;
  void operator()() const { ran->set(i); }
};

// What was accepted runs, what was refused is untouched.
TYPED_TEST(Stress, CloseThatRacesSubmissionLosesNothing) {
  constexpr std::size_t producers = 3;
  constexpr std::size_t most = 4096;
  for (int round = 0; round < 150; ++round) {
    const auto held = std::make_shared<int>(0);
    bitmap accepted(producers * most);
    bitmap ran(producers * most);
    std::atomic<std::size_t> touched{0};
    std::atomic<std::size_t> begun{0};
    {
      typename TestFixture::pool p{
          {.workers = 2, .buffer = 1 + static_cast<std::size_t>(round % 7)}};
      const watchdog<typename TestFixture::pool> progress(p);
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < producers; ++t) {
        threads.emplace_back([&, t] {
          for (std::size_t i = t * most; i < (t + 1) * most;) {
            setter task{&ran, i, held};
            const auto err = t == 0 ? p.do_wait(std::move(task)) : p.try_do(std::move(task));
            if (!err) {
              accepted.set(i++);
            } else if (task.held == nullptr) {
              ++touched;
            }
            ++begun;
            if (err == ErrClosed) break;
          }
        });
      }
      support::wait_until([&] { return begun > 20; });
      if (round % 2 == 0) {
        p.close();
      } else {
        p.request_stop();
      }
      for (auto& thread : threads) thread.join();
    }
    ASSERT_EQ(held.use_count(), 1);
    ASSERT_EQ(touched, 0u);
    ASSERT_EQ(ran.duplicates(), 0u);
    for (std::size_t i = 0; i < producers * most; ++i) {
      ASSERT_EQ(accepted.has(i), ran.has(i)) << "task " << i;
    }
  }
}

}  // namespace
