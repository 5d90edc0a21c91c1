// error: the destructor of a task must not throw
#include <fanout/fanout.hpp>

struct task {
  ~task() noexcept(false) {}
  void operator()() const {}
};

bool submit(fanout::pool& p, const task (&all)[2]) { return !p.try_do_bulk(all).error; }
