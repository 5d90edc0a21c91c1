// Four stretches of the accepted and the refused path, for callgrind to count instructions in.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   instructions submit|bulk|refuse|run COUNT
//
// count_instructions runs it under callgrind with two counts each and divides the difference, which
// leaves what one task costs. The worker is held while the main thread submits, and the main thread
// sleeps while the worker runs, so the numbers repeat.
//   submit   COUNT times try_do, accepted
//   bulk     the same tasks, 64 in a try_do_bulk
//   refuse   COUNT times try_do on a full pool
//   run      from the start of one task to the start of another, COUNT tasks later

#include <valgrind/callgrind.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <fanout/fanout.hpp>
#include <string_view>

#include "support.hpp"

namespace {

/// Switches the counting of the thread that runs it: on in the first, off in the last.
bench::task switching() {
  return {[](const bench::task&) { CALLGRIND_TOGGLE_COLLECT; }, nullptr, 0};
}

void submit(fanout::pool& pool, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (pool.try_do(bench::task{})) bench::fail("the buffer does not hold its bound");
  }
}

void submit_bulk(fanout::pool& pool, std::size_t count) {
  static const std::array<bench::task, 64> tasks{};
  for (std::size_t i = 0; i < count; i += tasks.size()) {
    if (pool.try_do_bulk(tasks).error) bench::fail("the buffer does not hold its bound");
  }
}

void be_refused(fanout::pool& pool, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (!pool.try_do(bench::task{})) bench::fail("a full buffer accepted");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments args(argc, argv);
  const std::string_view mode = args.empty() ? "submit" : args.word(0);
  const std::size_t count = args.empty() ? 64 : args.number<std::size_t>(1);

  bench::gate gate;
  fanout::pool pool({.buffer = bench::buffer});
  submit(pool, bench::buffer);  // the first use of a slot costs four more
  pool.wait_idle();
  if (pool.try_do(gate.closing())) bench::fail("an empty buffer refused");
  gate.wait_until_held();

  if (mode == "submit") {
    CALLGRIND_TOGGLE_COLLECT;
    submit(pool, count);
    CALLGRIND_TOGGLE_COLLECT;
  } else if (mode == "bulk") {
    CALLGRIND_TOGGLE_COLLECT;
    submit_bulk(pool, count);
    CALLGRIND_TOGGLE_COLLECT;
  } else if (mode == "refuse") {
    submit(pool, bench::buffer);
    CALLGRIND_TOGGLE_COLLECT;
    be_refused(pool, count);
    CALLGRIND_TOGGLE_COLLECT;
  } else if (mode == "run") {
    if (pool.try_do(switching())) bench::fail("the buffer does not hold its bound");
    submit(pool, count);
    if (pool.try_do(switching())) bench::fail("the buffer does not hold its bound");
  } else {
    bench::fail("no such stretch");
  }
  gate.open();
  pool.close();
}
