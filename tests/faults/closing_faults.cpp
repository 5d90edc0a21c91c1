// Close, resubmit and destroy from where a pool calls its user; many closers; pools that close each
// other; a pool at namespace scope.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "faults.hpp"

namespace {

using namespace std::chrono_literals;
using fanout::pool;

// --- From within

/// Calls `act` when it is destroyed, where it has not been moved from.
class at_end {
 public:
  explicit at_end(const std::function<void()>& act) : act_(&act) {}
  at_end(at_end&& other) noexcept : act_(std::exchange(other.act_, nullptr)) {}
  ~at_end() {
    if (act_ != nullptr) (*act_)();
  }
  void operator()() const {}

 private:
  const std::function<void()>* act_;
};

/// A pool that calls `act` from one place, and how it is brought to.
struct place {
  std::string name;
  std::function<fanout::options(const std::function<void()>& act)> options;
  std::function<void(pool& p, const std::function<void()>& act)> trigger;
};

void expect_taken(std::error_code err) {
  if (err) std::abort();
}

const std::vector<place>& places() {
  static const auto plain = [](const auto&) { return fanout::options{.name = "victim"}; };
  static const auto nothing = [](pool&, const auto&) {};
  static const std::vector<place> all{
      {"a task", plain, [](pool& p, const auto& act) { expect_taken(p.try_do([&] { act(); })); }},
      {"on_error",
       [](const auto& act) {
         return fanout::options{.name = "victim", .on_error = [&](const auto&) { act(); }};
       },
       [](pool& p, const auto&) { expect_taken(p.try_do([] { throw 1; })); }},
      {"a capture's destructor", plain,
       [](pool& p, const auto& act) { expect_taken(p.try_do(at_end(act))); }},
      {"a discarded capture", plain,
       [](pool& p, const auto& act) {
         // The task does not leave the other one to its worker.
         expect_taken(p.try_do([&p](const std::stop_token& token) {
           support::wait_until([&] { return token.stop_requested() && p.size() == 0; });
         }));
         support::wait_until([&] { return p.size() == 0; });
         expect_taken(p.try_do(at_end(act)));
         static_cast<void>(p.close_for(0s));
       }},
      {"a stop callback", plain,
       [](pool& p, const auto& act) {
         const std::stop_callback on_stop(p.get_stop_token(), [&] { act(); });
         p.request_stop();
       }},
      {"on_worker_start",
       [](const auto& act) {
         return fanout::options{.name = "victim", .on_worker_start = [&](std::size_t) { act(); }};
       },
       nothing},
      {"on_worker_stop",
       [](const auto& act) {
         return fanout::options{.name = "victim", .on_worker_stop = [&](std::size_t) { act(); }};
       },
       [](pool& p, const auto&) { p.close(); }}};
  return all;
}

enum class action { close, resubmit, destroy };

/// Has the pool call back from `where`, and says what the call back was answered.
std::string act_from(const place& where, action what) {
  support::gate owned, acted;
  std::unique_ptr<pool> owner;
  pool* victim = nullptr;
  std::error_code answer;
  std::atomic<int> ran{0};
  const std::function<void()> act = [&] {
    owned.wait();
    switch (what) {
      case action::close: answer = victim->close(); break;
      case action::resubmit: answer = victim->try_do([&] { ++ran; }); break;
      case action::destroy: owner.reset(); break;
    }
    acted.open();
  };
  owner = std::make_unique<pool>(where.options(act));
  victim = owner.get();
  pool& p = *victim;
  owned.open();
  where.trigger(p, act);
  acted.wait();
  if (what == action::destroy) return "the pool was destroyed";
  p.close();
  const auto stats = p.stats();
  if (stats.accepted != stats.completed + stats.failed + stats.discarded) return "not drained";
  if (what == action::close) return faults::name_of(answer) + ", the pool drains";
  if (!answer) return ran == 1 ? "accepted and run" : "accepted and not run";
  return faults::name_of(answer);
}

bool add_actions() {
  for (const place& each : places()) {
    const bool is_closed = each.name == "a discarded capture" || each.name == "a stop callback" ||
                           each.name == "on_worker_stop";
    faults::add({{each.name, "calls close()", "would_deadlock, the pool drains",
                  [&each] { return act_from(each, action::close); }},
                 {each.name, "submits again", is_closed ? "closed" : "accepted and run",
                  [&each] { return act_from(each, action::resubmit); }},
                 {each.name, "destroys the pool",
                  "SIGABRT: pool \"victim\" is destroyed by a task that its end waits for",
                  [&each] { return act_from(each, action::destroy); }}});
  }
  return true;
}

// --- Many closers

std::string close_64_times() {
  constexpr int closers = 64;
  std::atomic<int> ran{0};
  std::atomic<int> first{0};
  std::atomic<int> later{0};
  std::latch together(closers);
  {
    pool p{{.workers = 4, .buffer = 100}};
    for (int i = 0; i < 100; ++i) expect_taken(p.do_wait([&] { ++ran; }));
    std::vector<std::thread> threads;
    for (int i = 0; i < closers; ++i) {
      threads.emplace_back([&, i] {
        together.arrive_and_wait();
        const auto answer = i % 2 == 0 ? p.close() : p.close_for(1h);
        if (ran != 100) std::abort();  // no close returns before all has run
        ++(answer ? later : first);
        if (answer && answer != fanout::ErrClosed) std::abort();
      });
    }
    for (auto& thread : threads) thread.join();
  }
  return std::to_string(first) + " success, " + std::to_string(later) + " closed, all after " +
         std::to_string(ran) + " of 100 tasks";
}

std::string close_each_other() {
  std::array<std::error_code, 2> answers;
  std::latch both(2);
  std::latch answered(2);
  std::array<pool, 2> pools;
  for (std::size_t i = 0; i < 2; ++i) {
    expect_taken(pools[i].try_do([&, i] {
      both.arrive_and_wait();
      answers[i] = pools[1 - i].close();
      answered.count_down();
    }));
  }
  answered.wait();  // before a third closes them
  for (pool& each : pools) each.close();
  if (answers[0] != fanout::errc::would_deadlock) std::swap(answers[0], answers[1]);
  return "one " + faults::name_of(answers[0]) + ", the other " + faults::name_of(answers[1]);
}

// --- Namespace scope

std::atomic<int> ran_before_main{0};
int ran_after_main = 0;  // by the only worker

pool global{{.name = "global"}};

// Before main a task may be submitted; after it, objects made later than the pool are destroyed
// before the pool is.
struct around_main {
  support::gate main_is_over;
  around_main() {
    if (global.try_do([] { ++ran_before_main; })) std::abort();
  }
  ~around_main() { main_is_over.open(); }
} around;

std::string outlive_main() {
  support::wait_until([] { return ran_before_main == 1; });
  expect_taken(global.try_do([] { around.main_is_over.wait(); }));
  for (int i = 0; i < 3; ++i) {
    expect_taken(global.try_do([] {
      if (++ran_after_main == 3) faults::say(", 3 more run after main");
    }));
  }
  return "1 ran before main";
}

const bool added = [] {
  add_actions();
  return faults::add({{"64 threads", "call close() and close_for() at once",
                       "1 success, 63 closed, all after 100 of 100 tasks", close_64_times},
                      {"two pools", "each closes the other from a task",
                       "one would_deadlock, the other success", close_each_other},
                      {"a pool at namespace scope", "main returns while tasks wait",
                       "1 ran before main, 3 more run after main", outlive_main}});
}();

}  // namespace
