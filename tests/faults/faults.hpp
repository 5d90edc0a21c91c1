// Faults, each injected in a process of its own, and what is expected of each.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_FAULTS_HPP
#define FANOUT_TESTS_FAULTS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../load.hpp"

namespace faults {

/// One row of the table. `run` injects the fault and says what was seen; where the process ends by
/// a signal, that is what was seen. It may begin with "skipped: " and say why.
struct fault {
  std::string where, injected, expected;
  std::function<std::string()> run;
};

std::vector<fault>& all();

/// In a child: where what was seen goes, and adds to it.
extern int report_to;
void say(const std::string& text);

inline bool add(std::string where, std::string injected, std::string expected,
                std::function<std::string()> run) {
  all().push_back({std::move(where), std::move(injected), std::move(expected), std::move(run)});
  return true;
}
inline bool add(std::vector<fault> more) {
  for (fault& each : more) all().push_back(std::move(each));
  return true;
}

inline std::string name_of(std::error_code err) {
  if (!err) return "success";
  if (err.category() != fanout::category()) return err.message();
  constexpr const char* names[] = {"?",        "full",           "closed",    "timed_out",
                                   "canceled", "would_deadlock", "empty_task"};
  return names[err.value()];
}

/// Has four producers submit to `p` in every way and closes it. Says whether each accepted task ran
/// once.
template <class Pool> std::string run_exactly_once(Pool& p, std::size_t tasks) {
  constexpr std::size_t producers = 4;
  support::bitmap accepted(tasks), ran(tasks);
  std::vector<std::atomic<std::size_t>> offered(producers);
  std::vector<support::answers> told(producers);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < producers; ++t) {
    threads.emplace_back([&, t] {
      const std::size_t share = tasks / producers;
      const support::plan mine{.first = t * share, .last = (t + 1) * share, .stream = t};
      told[t] = support::producer<Pool>(p, accepted, ran, offered[t]).run(mine);
    });
  }
  for (auto& thread : threads) thread.join();
  if (p.wait_idle()) return "wait_idle failed";
  p.close();
  support::answers sum;
  for (const auto& one : told) sum += one;
  if (sum.touched != 0) return "a refused task was touched";
  if (ran.duplicates() != 0) return "a task ran twice";
  if (!(ran == accepted) || sum.accepted != tasks) return "a task was lost";
  return "each task ran once";
}

}  // namespace faults

#endif  // FANOUT_TESTS_FAULTS_HPP
