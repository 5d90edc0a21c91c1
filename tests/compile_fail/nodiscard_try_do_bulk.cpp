// error: ignoring return value of
#include <fanout/fanout.hpp>
#pragma GCC diagnostic error "-Wunused-result"

void ignore(fanout::pool& p, void (*const (&all)[2])()) { p.try_do_bulk(all); }
