// error: Policy::allow_heap
#include <fanout/fanout.hpp>

struct policy : fanout::default_policy {
  static constexpr std::size_t inline_size = 104;
  static constexpr bool allow_heap = false;
};
struct alignas(64) task {
  void operator()() const {}
};

bool submit(fanout::basic_pool<policy>& p) { return !p.try_do(task()); }
