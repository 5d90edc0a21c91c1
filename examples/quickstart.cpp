// The main path answers; a bounded pool beside it fills the cache.

#include <fanout/fanout.hpp>

#include <cstddef>
#include <exception>
#include <iostream>
#include <latch>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>

struct quote {
  std::string_view item;
  int cents;
};

class price_cache {
 public:
  void put(const quote& fresh) {
    if (fresh.cents <= 0) throw std::invalid_argument{"no price for " + std::string{fresh.item}};
    const std::lock_guard lock{mutex_};
    cents_.insert_or_assign(fresh.item, fresh.cents);
  }

  std::size_t size() const {
    const std::lock_guard lock{mutex_};
    return cents_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string_view, int> cents_;
};

// A failing task takes nothing down: the pool says what failed and where it was submitted.
void report(const fanout::error_info& failure) {
  try {
    std::rethrow_exception(failure.error);
  } catch (const std::exception& reason) {
    std::cout << failure.pool << " failed: " << reason.what() << " (" << failure.where.file_name()
              << ':' << failure.where.line() << ")\n";
  }
}

int main() {
  price_cache cache;
  std::latch answered{1};

  fanout::pool filler{{
      .name = "cache",
      .workers = 1,
      .buffer = 3,
      .on_error = report,
      // Holds the worker back until all is answered, so that each run prints the same.
      .on_worker_start = [&](std::size_t) { answered.wait(); },
  }};

  constexpr quote answers[] = {{"tea", 320}, {"coffee", 480}, {"milk", 0}, {"sugar", 190}};
  for (const quote& answer : answers) {
    std::cout << answer.item << ": " << answer.cents << " cents\n";  // the answer leaves first

    if (const auto err = filler.try_do([&cache, answer] { cache.put(answer); })) {
      // err == fanout::ErrFull. Nothing waited and nothing was queued; here a miss is good enough.
      std::cout << answer.item << " not cached: " << err.message() << '\n';
    }
  }
  answered.count_down();

  filler.close();  // takes no more, runs what was accepted, returns when the worker has ended
  std::cout << cache.size() << " prices cached, " << filler.stats().failed << " failed\n";
}
