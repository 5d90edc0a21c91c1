#include <fanout/fanout.hpp>

bool submit_in_other_unit(fanout::pool& pool, bool& done) {
  return !pool.try_do([&] { done = true; });
}
