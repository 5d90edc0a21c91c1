// error: ignoring return value of
#include <fanout/fanout.hpp>
#pragma GCC diagnostic error "-Wunused-result"

void ignore(fanout::pool& p) {
  p.try_do_until(std::chrono::steady_clock::now(), [] {});
}
