// error: Policy::allow_heap
#include <fanout/fanout.hpp>

struct policy : fanout::default_policy {
  static constexpr bool allow_heap = false;
};
struct task {
  task(const task&) noexcept(false) {}
  void operator()() const {}
};

bool submit(fanout::basic_pool<policy>& p, const task& t) { return !p.try_do(t); }
