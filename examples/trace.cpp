// A trace id follows a request from pool to pool, and stands in the line that says what failed.

#include <fanout/fanout.hpp>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <utility>

/// The request that the calling thread works for; 0: none.
thread_local int current_trace = 0;

/// Sets current_trace while it lives.
class trace_scope {
 public:
  explicit trace_scope(int id) : outer_(std::exchange(current_trace, id)) {}
  ~trace_scope() { current_trace = outer_; }
  trace_scope(const trace_scope&) = delete;
  trace_scope& operator=(const trace_scope&) = delete;

 private:
  const int outer_;
};

/// What travels with a task: captured on the submitter, entered around the task.
struct trace_context {
  int id;
  static trace_context capture() noexcept { return {current_trace}; }
  auto enter() const { return trace_scope(id); }
};

struct traced : fanout::default_policy {
  using context = trace_context;
};

/// Runs inside the context of the task that failed.
void report(const fanout::error_info& failure) {
  try {
    std::rethrow_exception(failure.error);
  } catch (const std::exception& reason) {
    std::cout << "trace " << current_trace << ": " << failure.pool << ": " << reason.what() << '\n';
  }
}

int main() {
  fanout::basic_pool<traced> store{{.name = "store", .on_error = report}};
  fanout::basic_pool<traced> cache{{.name = "cache", .on_error = report}};

  for (const int request : {4711, 4712, 4713}) {
    const trace_scope scope(request);
    // First hop: to the cache's worker. Second hop: from there to the store's.
    if (cache.try_do([&store, request] {
          if (store.try_do([request] {
                if (request == 4712) throw std::runtime_error("disk full");
              })) {
            std::abort();
          }
        })) {
      std::abort();
    }
  }

  cache.close();
  store.close();
  std::cout << "the main thread works for trace " << current_trace << " again\n"
            << store.stats().completed << " stored, " << store.stats().failed << " failed\n";
}
