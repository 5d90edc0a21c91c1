// A thousand tiny tasks that are waited for together, per task.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   group                                     every implementation, briefly
//   group --list                              the implementations
//   group fanout|tbb_task_group|async MS      the median over MS ms, in ns
//
// As many threads take part as there are cores, the one that waits among them: fanout has a worker
// less, which is also how oneTBB counts. async starts a thread for each task.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fanout/fanout.hpp>
#include <future>
#include <string>
#include <string_view>
#include <vector>

#if defined(FANOUT_BENCH_TBB)
#include <oneapi/tbb/task_group.h>
#endif

#include "support.hpp"

namespace {

constexpr std::size_t size = 1000;

/// Runs `round` for `ms` milliseconds after one that warms up.
template <class Round> void measure(std::int64_t ms, Round round) {
  round();
  std::vector<double> per_task;
  const bench::stopwatch watch(ms);
  do {
    const std::int64_t start = bench::now_ns();
    round();
    per_task.push_back(static_cast<double>(bench::now_ns() - start) / size);
  } while (watch.is_running());
  bench::report("ns_per_task", bench::quantile(per_task, 0.5));
}

void fanout_group(std::int64_t ms) {
  fanout::pool pool({.workers = std::max<std::size_t>(1, bench::cores() - 1)});
  measure(ms, [&pool] {
    fanout::group group(pool);
    for (std::size_t i = 0; i < size; ++i) {
      if (group.run(bench::task{})) bench::fail("run was refused");
    }
    group.wait();
  });
}

#if defined(FANOUT_BENCH_TBB)
void tbb_task_group(std::int64_t ms) {
  measure(ms, [] {
    tbb::task_group group;
    for (std::size_t i = 0; i < size; ++i) group.run(bench::task{});
    group.wait();
  });
}
#endif

void async(std::int64_t ms) {
  measure(ms, [] {
    std::vector<std::future<void>> all;
    all.reserve(size);
    for (std::size_t i = 0; i < size; ++i) {
      all.push_back(std::async(std::launch::async, bench::task{}));
    }
    for (auto& one : all) one.get();
  });
}

constexpr struct {
  std::string_view name;
  void (*run)(std::int64_t ms);
} implementations[] = {
    {"fanout", fanout_group},
#if defined(FANOUT_BENCH_TBB)
    {"tbb_task_group", tbb_task_group},
#endif
    {"async", async},
};

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  if (!args.empty() && args.word(0) == "--list") {
    for (const auto& each : implementations) std::printf("%s\n", each.name.data());
    return 0;
  }
  bool is_known = args.empty();
  for (const auto& each : implementations) {
    if (!args.empty() && each.name != args.word(0)) continue;
    each.run(args.empty() ? 1 : args.number(1));
    is_known = true;
  }
  if (!is_known) bench::fail("there is no group '" + std::string(args.word(0)) + "' here");
}
