// What a user of the library compiles: measured against standard.cpp.

#include <fanout/fanout.hpp>

int main() {
  int answer = 0;
  fanout::pool pool;
  if (pool.try_do([&answer] { answer = 42; })) return 1;
  pool.close();
  return answer == 42 ? 0 : 1;
}
