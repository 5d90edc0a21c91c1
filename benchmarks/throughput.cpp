// Tiny tasks from P producers to W workers, as fast as they go.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   throughput                          checks that every implementation runs each task once
//   throughput --list                   the implementations, their kinds, and which can block
//   throughput NAME try|wait PxW MS     tasks a second and processor time a task, over MS ms
//
// try: a producer that is refused yields and tries again, whatever the implementation. wait: it
// blocks, where the implementation has a call for that. The clock stops when all that was accepted
// has run.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>

#include "peers.hpp"
#include "support.hpp"

namespace {

struct result {
  std::uint64_t tasks = 0;
  double wall_ns = 0, cpu_ns = 0;
};

template <class Pool>
result run(std::string_view mode, std::size_t producers, std::size_t workers, std::int64_t ms,
           const bench::task& t) {
  constexpr bool can_block = requires(typename Pool::port p) { p.submit(t); };
  if (mode != "try" && (mode != "wait" || !can_block)) {
    bench::fail(std::string(Pool::name) + " has no mode '" + std::string(mode) + "'");
  }
  Pool pool(workers);
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<bool> begins{false};
  alignas(128) std::atomic<bool> ends{false};
  bench::threads submitters(producers, [&, mode, t] {
    typename Pool::port port(pool);
    std::uint64_t own = 0;
    const auto produce = [&](auto submit) {
      begins.wait(false);
      while (!ends.load(std::memory_order_relaxed)) {
        for (int i = 0; i < 16; ++i) submit();
        own += 16;
      }
    };
    if constexpr (can_block) {
      if (mode == "wait") produce([&] { port.submit(t); });
    }
    if (mode == "try") produce([&] { bench::submit_retrying(port, t); });
    accepted.fetch_add(own);
  });

  const double cpu = bench::cpu_ns();
  const std::int64_t start = bench::now_ns();
  begins = true;
  begins.notify_all();
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  ends = true;
  submitters.join();
  pool.close();
  const auto wall = static_cast<double>(bench::now_ns() - start);
  return {accepted.load(), wall, bench::cpu_ns() - cpu};
}

template <class Pool> bool runs_each_once(std::string_view mode) {
  std::atomic<std::uint64_t> ran{0};
  const result r = run<Pool>(mode, 2, 2, 1, bench::counting(ran));
  while (ran.load() < r.tasks) std::this_thread::yield();  // lost: the test's timeout
  std::printf("%s %s: %llu tasks\n", Pool::name.data(), mode.data(),
              static_cast<unsigned long long>(r.tasks));
  return ran.load() == r.tasks;
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  if (args.empty()) {
    bool is_right = true;
    bench::all_pools::each([&]<class Pool>() {
      is_right = runs_each_once<Pool>("try") && is_right;
      if constexpr (requires(typename Pool::port p, bench::task t) { p.submit(t); }) {
        is_right = runs_each_once<Pool>("wait") && is_right;
      }
    });
    return is_right ? 0 : 1;
  }
  if (args.word(0) == "--list") return bench::all_pools::print(), 0;

  const auto [producers, workers] = args.cell(2);
  bench::all_pools::with(args.word(0), [&, p = producers, w = workers]<class Pool>() {
    const result r = run<Pool>(args.word(1), p, w, args.number(3), bench::task{});
    bench::report("tasks_per_s", static_cast<double>(r.tasks) * 1e9 / r.wall_ns);
    bench::report("cpu_ns_per_task", r.cpu_ns / static_cast<double>(r.tasks));
  });
}
