// A unit that uses every public function, for compilers that say all that they have to say.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#include <fanout/fanout.hpp>

#include <chrono>
#include <functional>
#include <stop_token>
#include <vector>

namespace {

struct told : fanout::discardable {
  void operator()() const {}
  void discard() noexcept {}
};
struct trace {
  static trace capture() noexcept { return {}; }
  auto enter() const {
    struct scope {
      ~scope() {}
    };
    return scope{};
  }
};
struct traced : fanout::timed_policy {
  using context = trace;
};

template <class Policy> void use_everything() {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  std::vector<std::function<void()>> many(3, [] {});
  fanout::basic_pool<Policy> pool{{.name = "everything", .workers = 2, .wake_delay = 1ms}};
  static_cast<void>(pool.try_do([] {}));
  static_cast<void>(pool.do_wait(told{}));
  static_cast<void>(pool.do_wait(told{}, std::stop_token()));
  static_cast<void>(pool.try_do_for(1s, [] {}));
  static_cast<void>(pool.try_do_until(now, [] {}));
  static_cast<void>(pool.do_evict(told{}));
  static_cast<void>(pool.try_do_bulk(many));
  static_cast<void>(pool.submit([] { return 1; }).get());
  static_cast<void>(pool.submit_wait([](const std::stop_token&) {}));
  static_cast<void>(pool.submit_wait([] {}, std::stop_token()));
  static_cast<void>(pool.submit_for(1s, told{}));
  static_cast<void>(pool.submit_until(now, told{}));
  static_cast<void>(pool.purge());
  static_cast<void>(pool.wait_idle());
  static_cast<void>(pool.wait_idle_for(1s));
  static_cast<void>(pool.wait_idle_until(now));
  static_cast<void>(pool.name().size() + pool.workers() + pool.capacity() + pool.size());
  static_cast<void>(pool.stats().accepted);
  static_cast<void>(pool.get_stop_token());
  {
    fanout::basic_group<Policy> group{pool, {.limit = 2}};
    static_cast<void>(group.try_do(told{}));
    static_cast<void>(group.run([] {}));
    static_cast<void>(group.wait());
    static_cast<void>(group.wait_for(1s));
    static_cast<void>(group.wait_until(now));
    static_cast<void>(group.get_stop_token());
    static_cast<void>(group.skipped());
    group.request_stop();
  }
  pool.request_stop();
  static_cast<void>(pool.is_closed());
  static_cast<void>(pool.close_for(1s));
  static_cast<void>(pool.close_until(now));
  static_cast<void>(pool.close(std::stop_token()));
  pool.close();
}

}  // namespace

int main() {
  use_everything<fanout::default_policy>();
  use_everything<traced>();
}
