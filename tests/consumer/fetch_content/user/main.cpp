#include <audit.hpp>

int main() {
  fanout::pool pool;
  return audited(pool) == 7 ? 0 : 1;
}
