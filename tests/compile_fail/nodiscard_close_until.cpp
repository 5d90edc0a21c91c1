// error: ignoring return value of
#include <fanout/fanout.hpp>
#pragma GCC diagnostic error "-Wunused-result"

void ignore(fanout::pool& p) { p.close_until(std::chrono::steady_clock::now()); }
