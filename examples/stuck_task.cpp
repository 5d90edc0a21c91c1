// Finds the task that hangs: from another thread, with the line that submitted it.

#include <fanout/fanout.hpp>

#include <chrono>
#include <cstddef>
#include <iostream>
#include <stop_token>
#include <string_view>
#include <thread>

using namespace std::chrono_literals;
using timed_pool = fanout::basic_pool<fanout::timed_policy>;

/// Waits until the pool is idle. The first task that runs for longer than `limit` is named, and
/// the pool told to stop.
void watch(timed_pool& pool, std::chrono::milliseconds limit) {
  while (pool.wait_idle_for(limit)) {  // timed_out: somebody is still at work
    const auto longest = pool.stats().longest_running;
    if (!longest || longest->elapsed < limit) continue;

    std::string_view file = longest->where.file_name();
    file.remove_prefix(file.find_last_of('/') + 1);
    std::cout << pool.name() << '/' << longest->worker << " has spent over " << limit.count()
              << " ms in the task of " << file << ':' << longest->where.line() << '\n';
    return pool.request_stop();  // what a watchdog does about it is up to the service
  }
}

int main() {
  timed_pool pool{{.name = "index"}};

  for (int i = 0; i < 10; ++i) {
    if (pool.try_do([] {})) return 1;
  }
  if (pool.try_do([](const std::stop_token& stop) {  // the culprit: waits for what never comes
        while (!stop.stop_requested()) std::this_thread::yield();
      })) {
    return 1;
  }
  if (pool.try_do([] {})) return 1;

  watch(pool, 50ms);
  pool.close();

  const auto stats = pool.stats();
  std::cout << stats.run_time.count() << " tasks ran; the slowest took at least 50 ms: "
            << (stats.run_time.quantile(1.0) >= 50ms ? "yes" : "no") << '\n';
}
