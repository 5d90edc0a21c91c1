// One worker is held: fill the buffer, be refused, let go, drain. Each per task, without the wake.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   fill_drain               every implementation, once
//   fill_drain --list        the implementations
//   fill_drain NAME MS       repeats for MS ms and prints the medians
//
// fanout_bulk is fanout filled by try_do_bulk with 64 tasks at a time; fanout_evict is fanout whose
// full buffer evicts instead of refusing.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "peers.hpp"
#include "support.hpp"

namespace {

/// fanout, submitted to in bulk.
class fanout_bulk {
 public:
  static constexpr std::string_view name = "fanout_bulk";
  using port = bench::plain_port<fanout_bulk>;

  explicit fanout_bulk(std::size_t workers)
      : pool_({.workers = workers, .buffer = bench::buffer}) {}
  bool try_submit(const bench::task& t) { return !pool_.try_do(t); }
  std::size_t try_submit_bulk(const bench::task* tasks, std::size_t count) {
    struct range {
      const bench::task *first, *last;
      const bench::task* begin() const noexcept { return first; }
      const bench::task* end() const noexcept { return last; }
    };
    return pool_.try_do_bulk(range{tasks, tasks + count}).accepted;
  }
  void close() { pool_.close(); }

 private:
  fanout::pool pool_;
};

template <class Pool>
concept can_evict = requires(Pool p) { p.do_evict(bench::task{}); };

/// fanout, which takes a task for the oldest when it is full. Pool is fanout::pool.
template <class Pool> class fanout_evict {
 public:
  static constexpr std::string_view name = "fanout_evict";
  using port = bench::plain_port<fanout_evict>;

  explicit fanout_evict(std::size_t workers)
      : pool_({.workers = workers, .buffer = bench::buffer}) {}
  bool try_submit(const bench::task& t) { return !pool_.try_do(t); }
  bool evict(const bench::task& t) { return !pool_.do_evict(t); }
  void close() { pool_.close(); }

 private:
  Pool pool_;
};

template <class Pool> void measure(std::int64_t ms) {
  constexpr bool evicts = requires(Pool& p) { p.evict(bench::task{}); };
  constexpr std::size_t bulk = 64, refusals = 2048;
  // Where tasks start in order, the last one's start is the end of the draining.
  constexpr bool is_ordered = !requires(const Pool& p) { p.wait_until_none_waits(); };
  Pool pool(1);
  typename Pool::port port(pool);
  bench::gate gate;
  std::atomic<std::int64_t> first{0}, last{0};
  std::vector<bench::task> tasks(bench::buffer);
  tasks.front() = bench::stamping(first);
  tasks.back() = bench::stamping(last);

  std::vector<double> fill, refuse, drain;
  const bench::stopwatch watch(ms);
  do {
    bench::submit_retrying(port, gate.closing());
    gate.wait_until_held();
    first = last = 0;

    std::size_t accepted = 0;
    const std::int64_t t0 = bench::now_ns();
    if constexpr (requires { pool.try_submit_bulk(tasks.data(), bulk); }) {
      for (std::size_t i = 0; i < tasks.size(); i += bulk) {
        accepted += pool.try_submit_bulk(&tasks[i], bulk);
      }
    } else {
      for (const bench::task& t : tasks) accepted += port.try_submit(t) ? 1u : 0u;
    }
    const std::int64_t t1 = bench::now_ns();
    if (accepted != tasks.size()) bench::fail("the buffer does not hold its bound");
    std::size_t refused = 0;
    if constexpr (evicts) {
      for (std::size_t i = 0; i < refusals; ++i) refused += pool.evict(tasks.back()) ? 1u : 0u;
    } else {
      for (std::size_t i = 0; i < refusals; ++i) {
        refused += port.try_submit(bench::task{}) ? 0u : 1u;
      }
    }
    const std::int64_t t2 = bench::now_ns();
    if (refused != refusals) bench::fail("a full buffer did not do its duty");

    gate.open();
    while (last.load(std::memory_order_acquire) == 0) std::this_thread::yield();
    if constexpr (!is_ordered) pool.wait_until_none_waits();
    fill.push_back(static_cast<double>(t1 - t0) / bench::buffer);
    refuse.push_back(static_cast<double>(t2 - t1) / refusals);
    drain.push_back(static_cast<double>(last - first) / (bench::buffer - 1));
  } while (watch.is_running());
  pool.close();

  bench::report("fill_ns", bench::quantile(fill, 0.5));
  bench::report(evicts ? "evict_ns" : "refuse_ns", bench::quantile(refuse, 0.5));
  if (is_ordered && !evicts) bench::report("drain_ns", bench::quantile(drain, 0.5));
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  bool is_known = false;
  const auto look = [&]<class Pool>() {
    if (args.empty()) {
      measure<Pool>(1);
    } else if (args.word(0) == "--list") {
      std::printf("%s\n", Pool::name.data());
    } else if (args.word(0) == Pool::name) {
      measure<Pool>(args.number(1));
    } else {
      return;
    }
    is_known = true;
  };
  bench::all_pools::each(look);
  look.operator()<fanout_bulk>();
  [&]<class Pool>(Pool*) {
    if constexpr (can_evict<Pool>) look.template operator()<fanout_evict<Pool>>();
  }(static_cast<fanout::pool*>(nullptr));
  if (!is_known) bench::fail("there is no implementation '" + std::string(args.word(0)) + "' here");
}
