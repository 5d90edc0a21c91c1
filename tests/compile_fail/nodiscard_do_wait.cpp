// error: ignoring return value of
#include <fanout/fanout.hpp>
#pragma GCC diagnostic error "-Wunused-result"

void ignore(fanout::pool& p) {
  p.do_wait([] {});
}
