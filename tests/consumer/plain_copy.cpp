#include "fanout.hpp"

int main() {
  int sum = 0;
  fanout::pool pool{{.name = "copy", .workers = 1, .buffer = 4}};
  for (int i = 1; i <= 4; ++i)
    while (pool.try_do([&sum, i] { sum += i; }) == fanout::ErrFull) continue;
  if (pool.close()) return 1;
  return sum == 10 ? 0 : 2;
}
