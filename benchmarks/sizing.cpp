// What workers and buffer do to a bursty load: how much is refused, and how long the rest waits.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   sizing               all, for 0.1 s each
//   sizing SECONDS       a table for plots/sizing.gnuplot, after SECONDS for each number of workers
//
// A task waits for 1 ms, as for a database: it needs a worker, but no core. Bursts of 100 tasks come
// at random, 8 a second in the mean; the pools of all buffers get the same ones.

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fanout/fanout.hpp>
#include <list>
#include <random>
#include <thread>
#include <vector>

#include "support.hpp"

#if defined(__linux__)
#include <sys/prctl.h>
#endif

namespace {

constexpr std::chrono::milliseconds service{1}, mean_gap{125};
constexpr std::size_t burst = 100;

void keep_time_exactly(std::size_t) {
#if defined(__linux__)
  ::prctl(PR_SET_TIMERSLACK, 1ul);  // a sleep ends 50 us late otherwise
#endif
}

/// One pool of the table, and what happens to its tasks.
class cell {
 public:
  cell(std::size_t workers, std::size_t buffer, std::size_t bursts)
      : waits_(bursts * burst),
        pool_({.workers = workers, .buffer = buffer, .on_worker_start = keep_time_exactly}) {}

  void offer_burst() {
    offered_ += burst;
    const std::int64_t now = bench::now_ns();
    for (std::size_t i = 0; i < burst; ++i) {
      if (pool_.try_do([this, now] { serve(now); })) ++refused_;
    }
  }

  void report() {
    pool_.close();
    const std::size_t served = offered_ - refused_;
    waits_.resize(served);
    std::printf("%7zu %6zu %9.2f %11.2f %11.2f %10.3f\n", pool_.workers(), pool_.capacity(),
                100.0 * static_cast<double>(refused_) / static_cast<double>(offered_),
                bench::quantile(waits_, 0.5) / 1e6, bench::quantile(waits_, 0.99) / 1e6,
                static_cast<double>(service_ns_) / static_cast<double>(served) / 1e6);
  }

 private:
  void serve(std::int64_t submitted) {
    const std::int64_t start = bench::now_ns();
    waits_[next_.fetch_add(1, std::memory_order_relaxed)] = static_cast<double>(start - submitted);
    std::this_thread::sleep_for(service);
    service_ns_.fetch_add(bench::now_ns() - start, std::memory_order_relaxed);
  }

  std::vector<double> waits_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::int64_t> service_ns_{0};
  std::size_t offered_ = 0, refused_ = 0;
  fanout::pool pool_;  // ends before what its tasks use
};

void measure(std::size_t workers, double seconds) {
  const auto bursts = static_cast<std::size_t>(
      std::ceil(seconds / std::chrono::duration<double>(mean_gap).count()));
  std::list<cell> cells;
  for (std::size_t buffer = 8; buffer <= 1024; buffer *= 2) {
    cells.emplace_back(workers, buffer, bursts);
  }

  std::mt19937 random(1);  // the same arrivals in every run
  auto next = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < bursts; ++i) {
    const double draw = (static_cast<double>(random()) + 0.5) / 4294967296.0;
    next += std::chrono::duration_cast<std::chrono::nanoseconds>(-std::log(draw) * mean_gap);
    std::this_thread::sleep_until(next);
    for (cell& each : cells) each.offer_burst();
  }
  for (cell& each : cells) each.report();
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  const double seconds = args.empty() ? 0.1 : args.number<double>(0);
  std::printf("workers buffer refused_%% wait_p50_ms wait_p99_ms service_ms\n");
  for (const std::size_t workers : {1u, 2u, 4u}) measure(workers, seconds);
}
