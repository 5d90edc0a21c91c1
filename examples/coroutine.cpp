// A coroutine that changes threads: a request is parsed on one pool and logged on another.

#include <fanout/fanout.hpp>

#include <algorithm>
#include <coroutine>
#include <exception>
#include <iostream>
#include <latch>
#include <string>

/// Begins at once and frees itself at its end; nobody waits for its result.
struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

/// Answers `request` on the workers of both pools; where one refuses, on the thread at hand.
detached answer(std::string request, fanout::pool& parsing, fanout::pool& logging,
                std::latch& answered) {
  if (const auto err = co_await parsing.schedule()) {
    // Nothing was queued: this goes on at once on the caller.
    std::cout << request << ": " << err.message() << '\n';
    answered.count_down();
    co_return;
  }
  // From here on a worker of `parsing`.
  const auto words = 1 + std::count(request.begin(), request.end(), ' ');

  const auto not_logged = co_await logging.schedule();
  // From here on a worker of `logging`, unless it refused.
  std::cout << request << ": " << words << " words" << (not_logged ? ", not logged\n" : "\n");
  answered.count_down();
}

int main() {
  fanout::pool parsing{{.name = "parse"}}, logging{{.name = "log"}};

  for (const char* request : {"get tea", "get green tea"}) {
    std::latch answered{1};
    answer(request, parsing, logging, answered);
    answered.wait();
  }

  parsing.close();
  std::latch answered{1};
  answer("get milk", parsing, logging, answered);
  answered.wait();

  logging.close();
  for (const auto* pool : {&parsing, &logging}) {
    std::cout << pool->name() << ": " << pool->stats().completed << " tasks\n";
  }
}
