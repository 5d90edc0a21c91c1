// error: wrap it
#include <fanout/fanout.hpp>

struct task {
  task() = default;
  task(task&&) noexcept(false) {}
  void operator()() const {}
};

bool submit(fanout::pool& p) { return !p.try_do(task()); }
