// A plugin, or a shared library, beside a program that uses fanout too.

#include "plugin.hpp"

#include <atomic>

namespace {

bool is_full(const std::error_code& err) {
  return err == fanout::ErrFull && fanout::ErrFull == err && !(err != fanout::ErrFull) &&
         err != fanout::ErrClosed && err == std::errc::resource_unavailable_try_again;
}
std::error_code full_code() { return make_error_code(fanout::errc::full); }
std::error_code close(fanout::pool& of) { return of.close(); }
std::error_code do_wait(fanout::pool& on) {
  return on.do_wait([] {});
}
std::error_code wait_idle(fanout::pool& of) { return of.wait_idle(); }

bool use_own_pool() {
  std::atomic<int> ran{0};
  fanout::pool own{{.workers = 2, .buffer = 4}};
  for (int i = 0; i < 100; ++i) {
    if (own.do_wait([&] { ++ran; })) return false;
  }
  fanout::group g{own};
  for (int i = 0; i < 100; ++i) {
    if (g.run([&] { ++ran; })) return false;
  }
  return !g.wait() && !own.close() && ran == 200;
}
fanout::pool* make_pool() { return new fanout::pool{{.name = "plugin's"}}; }
void destroy(fanout::pool* p) { delete p; }

constexpr plugin the_plugin{is_full,   full_code,    close,     do_wait,
                            wait_idle, use_own_pool, make_pool, destroy};

}  // namespace

const plugin* fanout_test_plugin() { return &the_plugin; }
