// error: Policy::allow_heap
#include <fanout/fanout.hpp>

struct policy : fanout::default_policy {
  static constexpr bool allow_heap = false;
};
struct task {
  char ballast[fanout::default_policy::inline_size + 1];
  void operator()() const {}
};

bool submit(fanout::basic_pool<policy>& p) { return !p.try_do(task()); }
