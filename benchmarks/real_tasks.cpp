// Tasks that compute for microseconds, one submitter, as many workers as cores.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   real_tasks                            every implementation, briefly
//   real_tasks calibrate                  iterations of the computation in a microsecond
//   real_tasks NAME ITERATIONS COUNT      wall time a task, for COUNT tasks of ITERATIONS
//
// ideal is the same work on as many bare threads as cores, handed out sixteen tasks at a time: no
// queue, and no thread beside them that submits. Implementations that can block at the bound do;
// to the others a refused submitter comes back after a yield.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "peers.hpp"
#include "support.hpp"

namespace {

double wall_per_task(std::int64_t start, std::uint64_t count) {
  return static_cast<double>(bench::now_ns() - start) / static_cast<double>(count);
}

double ideal(std::uint64_t iterations, std::uint64_t count) {
  const bench::task t = bench::computing(iterations);
  std::atomic<std::uint64_t> next{0};
  const std::int64_t start = bench::now_ns();
  bench::threads(bench::cores(), [&] {
    constexpr std::uint64_t chunk = 16;
    for (std::uint64_t i = 0; (i = next.fetch_add(chunk)) < count;) {
      for (const std::uint64_t end = std::min(i + chunk, count); i < end; ++i) t();
    }
  }).join();
  return wall_per_task(start, count);
}

template <class Pool> double pooled(std::uint64_t iterations, std::uint64_t count) {
  const bench::task t = bench::computing(iterations);
  const std::int64_t start = bench::now_ns();
  Pool pool(bench::cores());
  {
    typename Pool::port port(pool);
    for (std::uint64_t i = 0; i < count; ++i) {
      if constexpr (requires { port.submit(t); }) {
        port.submit(t);
      } else {
        bench::submit_retrying(port, t);
      }
    }
    pool.close();
  }
  return wall_per_task(start, count);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  if (args.empty()) {
    bench::report("ideal", ideal(100, 10'000));
    bench::all_pools::each(
        []<class Pool>() { bench::report(std::string(Pool::name), pooled<Pool>(100, 10'000)); });
    return 0;
  }
  if (args.word(0) == "calibrate") {
    bench::report("iterations_per_us", bench::iterations_per_us());
    return 0;
  }
  const auto iterations = args.number<std::uint64_t>(1), count = args.number<std::uint64_t>(2);
  if (args.word(0) == "ideal") {
    bench::report("wall_ns_per_task", ideal(iterations, count));
  } else {
    bench::all_pools::with(args.word(0), [&]<class Pool>() {
      bench::report("wall_ns_per_task", pooled<Pool>(iterations, count));
    });
  }
}
