// From a submission to a sleeping worker until the submitter sees what the task did.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   wake_latency             every implementation, briefly
//   wake_latency NAME MS     repeats for MS ms and prints quantiles in ns
//
// futex is the hand-off that nothing on this platform can beat: a word, a wake, a task.

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "peers.hpp"
#include "support.hpp"

namespace {

class futex_handoff {
 public:
  static constexpr std::string_view name = "futex";
  using port = bench::plain_port<futex_handoff>;

  explicit futex_handoff(std::size_t) : worker_(1, [this] { work(); }) {}
  bool try_submit(const bench::task& t) {
    task_ = t;
    give(ready);
    return true;
  }
  void close() {
    give(ended);
    worker_.join();
  }

 private:
  using sync = fanout::detail::native_sync;
  static constexpr std::uint32_t empty = 0, ready = 1, ended = 2;

  void give(std::uint32_t state) {
    while (word_.load(std::memory_order_acquire) != empty) sync::pause();
    word_.store(state, std::memory_order_release);
    sync::unpark_one(word_);
  }
  void work() {
    for (;;) {
      const std::uint32_t state = word_.load(std::memory_order_acquire);
      if (state == empty) {
        sync::park(word_, empty);
        continue;
      }
      if (state == ended) return;
      const bench::task t = task_;
      word_.store(empty, std::memory_order_release);
      t();
    }
  }

  std::atomic<std::uint32_t> word_{empty};
  bench::task task_;
  bench::threads worker_;
};

template <class Pool> void measure(std::int64_t ms) {
  Pool pool(1);
  {
    typename Pool::port port(pool);
    std::atomic<std::uint64_t> ran{0};
    auto round_trip = [&, sent = std::uint64_t{0}]() mutable {
      const std::int64_t start = bench::now_ns();
      if (!port.try_submit(bench::counting(ran))) bench::fail("an empty buffer refused");
      ++sent;
      bench::spin_until([&] { return ran.load(std::memory_order_acquire) == sent; });
      return bench::now_ns() - start;
    };
    round_trip();
    const bench::other_threads others;
    std::vector<std::int64_t> latency;
    const bench::stopwatch watch(ms);
    do {
      others.wait_until_asleep();
      latency.push_back(round_trip());
    } while (watch.is_running());
    bench::report("p50_ns", static_cast<double>(bench::quantile(latency, 0.5)));
    bench::report("p99_ns", static_cast<double>(bench::quantile(latency, 0.99)));
    pool.close();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  if (args.empty()) {
    measure<futex_handoff>(1);
    bench::all_pools::each([]<class Pool>() {
      if constexpr (Pool::kind != "limit") measure<Pool>(1);
    });
  } else if (args.word(0) == futex_handoff::name) {
    measure<futex_handoff>(args.number(1));
  } else {
    bench::all_pools::with(args.word(0), [&]<class Pool>() {
      if constexpr (Pool::kind == "limit") bench::fail("the bare ring never sleeps");
      measure<Pool>(args.number(1));
    });
  }
}
