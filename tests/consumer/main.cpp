#include <fanout/fanout.hpp>

bool submit_in_other_unit(fanout::pool& pool, bool& done);  // other.cpp

int main() {
  bool done = false;
  bool done_in_other_unit = false;
  fanout::pool pool{{.name = "consumer", .workers = 2}};
  if (pool.try_do([&] { done = true; })) return 1;
  if (!submit_in_other_unit(pool, done_in_other_unit)) return 2;
  if (pool.close()) return 3;
  return done && done_in_other_unit ? 0 : 4;
}
