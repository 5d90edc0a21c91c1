#include <fanout/fanout.hpp>

int audited(fanout::pool& by);
