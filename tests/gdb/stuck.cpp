// A program that is stuck, for a debugger to look into.

#include <fanout/fanout.hpp>

#include <stop_token>
#include <thread>

namespace {

void hang(const std::stop_token& stop) {
  while (!stop.stop_requested()) std::this_thread::yield();
}

}  // namespace

extern "C" [[gnu::noinline]] void is_stuck() { __asm__ __volatile__(""); }

int main() {
  fanout::basic_pool<fanout::timed_policy> index{{.name = "index", .workers = 2, .buffer = 3}};
  fanout::pool plain{{.name = "plain pool"}};
  for (int i = 0; i < 3; ++i) static_cast<void>(index.try_do([] {}));
  static_cast<void>(index.wait_idle());
  for (int i = 0; i < 2; ++i) static_cast<void>(index.do_wait(hang));  // runs
  while (index.size() != 0) std::this_thread::yield();
  static_cast<void>(index.do_wait([] {}));  // waits first
  static_cast<void>(index.do_wait([] {}));  // waits second
  static_cast<void>(plain.try_do([] { throw 1; }));
  static_cast<void>(plain.wait_idle());
  plain.close();
  is_stuck();
  index.request_stop();
}
