// What one submission costs its caller, call by call: the figure for a request path.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   caller_cost                            every implementation in every state, briefly
//   caller_cost NAME busy|parked|full MS   the quantiles of single calls over MS ms, in ns
//
// One worker.
//   busy     it runs tasks of about a microsecond, and tens to hundreds of them wait
//   parked   it sleeps; the call wakes it
//   full     it is held, and the call is refused

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "peers.hpp"
#include "support.hpp"

namespace {

template <class Port> void busy(Port& port, const bench::stopwatch& watch, bench::call_timer& to) {
  constexpr std::uint64_t most = 256, fewest = 32, iterations = 800;
  struct work {
    alignas(128) std::atomic<std::uint64_t> done{0};
    bench::task next() {
      return {[](const bench::task& t) {
                bench::compute(t.value);
                auto& count = static_cast<work*>(t.to)->done;
                count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
              },
              this, iterations};
    }
  } work;
  std::uint64_t sent = 0;
  const auto waiting = [&] { return sent - work.done.load(std::memory_order_acquire); };
  do {
    while (waiting() < most) {
      if (to.time([&] { return port.try_submit(work.next()); })) {
        ++sent;
      } else {
        to.drop_last();
      }
      bench::compute(iterations / 4);
    }
    while (waiting() > fewest) std::this_thread::yield();
  } while (watch.is_running());
  while (waiting() > 0) std::this_thread::yield();
}

template <class Port>
void parked(Port& port, const bench::stopwatch& watch, bench::call_timer& to) {
  std::atomic<std::uint64_t> ran{0};
  bench::submit_retrying(port, bench::counting(ran));
  bench::spin_until([&] { return ran != 0; });
  const bench::other_threads others;
  std::uint64_t sent = 1;
  do {
    others.wait_until_asleep();
    if (!to.time([&] { return port.try_submit(bench::counting(ran)); })) {
      bench::fail("an empty buffer refused");
    }
    ++sent;
    bench::spin_until([&] { return ran == sent; });
  } while (watch.is_running());
}

template <class Port> void full(Port& port, const bench::stopwatch& watch, bench::call_timer& to) {
  bench::gate gate;
  bench::submit_retrying(port, gate.closing());
  gate.wait_until_held();
  while (port.try_submit(bench::task{})) {
  }
  do {
    for (int i = 0; i < 1000; ++i) {
      if (to.time([&] { return port.try_submit(bench::task{}); })) {
        bench::fail("a full buffer accepted");
      }
    }
  } while (watch.is_running());
  gate.open();
}

template <class Pool> void measure(std::string_view state, std::int64_t ms) {
  bench::call_timer calls;
  Pool pool(1);
  {
    typename Pool::port port(pool);
    const bench::stopwatch watch(ms);
    if (state == "busy") {
      busy(port, watch, calls);
    } else if (state == "parked" && Pool::kind != "limit") {
      parked(port, watch, calls);
    } else if (state == "full") {
      full(port, watch, calls);
    } else {
      bench::fail(std::string(Pool::name) + " has no state '" + std::string(state) + "'");
    }
    pool.close();
  }
  calls.report();
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  if (args.empty()) {
    bench::all_pools::each([]<class Pool>() {
      measure<Pool>("busy", 1);
      if (Pool::kind != "limit") measure<Pool>("parked", 1);
      measure<Pool>("full", 1);
    });
  } else {
    bench::all_pools::with(args.word(0),
                           [&]<class Pool>() { measure<Pool>(args.word(1), args.number(2)); });
  }
}
