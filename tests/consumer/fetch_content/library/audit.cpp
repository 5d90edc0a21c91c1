#include "audit.hpp"

int audited(fanout::pool& by) {
  return by.submit([] { return 7; }).get();
}
