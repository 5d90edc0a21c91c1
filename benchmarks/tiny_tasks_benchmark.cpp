// Tiny tasks a second for 1 to 4 producers and 1 to 4 workers: the quick look. items_per_second is
// the figure. The comparison with others is throughput.cpp's.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <fanout/fanout.hpp>
#include <optional>
#include <thread>

#include "support.hpp"

namespace {

// Made and ended by thread 0; the benchmark's own barriers around the loop show it to the others.
std::optional<fanout::pool> pool;

void tiny_tasks(benchmark::State& state) {
  if (state.thread_index() == 0) {
    pool.emplace(fanout::options{.name = "bench",
                                 .workers = static_cast<std::size_t>(state.range(0)),
                                 .buffer = bench::buffer});
  }
  for (auto _ : state) {
    while (pool->try_do(bench::task{})) std::this_thread::yield();
  }
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) pool.reset();
}

BENCHMARK(tiny_tasks)->ArgName("workers")->DenseRange(1, 4)->DenseThreadRange(1, 4)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
