// A framework's call must be finished exactly once, also when the task that holds it is dropped.
//
// The callable derives from fanout::discardable: who evicts, purges or closes too late calls its
// discard(). Refused calls are answered by who offered them.

#include <fanout/fanout.hpp>

#include <chrono>
#include <cstdio>
#include <latch>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

using namespace std::chrono_literals;

/// Stands for the framework: counts how each call was finished, and objects to a second time.
class framework {
 public:
  void finish(int call, const char* how) {
    const std::lock_guard hold(mutex_);
    const bool first = answers_.emplace(call, how).second;
    if (!first) std::printf("call %d was finished twice\n", call);
  }
  void print() const {
    for (const auto& [call, how] : answers_) std::printf("call %d: %s\n", call, how.c_str());
  }

 private:
  std::mutex mutex_;
  std::map<int, std::string> answers_;
};

/// One call of a client, to be answered by the pool.
class call : public fanout::discardable {
 public:
  call(framework& of, int number) noexcept : of_(&of), number_(number) {}
  void operator()() const { of_->finish(number_, "answered"); }
  void discard() noexcept { of_->finish(number_, "unavailable: dropped"); }

 private:
  framework* of_;
  int number_;
};

int main() {
  framework grpc;
  std::latch busy{1};
  fanout::pool pool{{.name = "calls", .workers = 1, .buffer = 2}};
  // The first task is slow: it ends when it is told to.
  if (pool.try_do([&](const std::stop_token& stop) {
        busy.count_down();
        std::latch told{1};
        const std::stop_callback on_stop(stop, [&] { told.count_down(); });
        told.wait();
      })) {
    return 1;
  }
  busy.wait();

  for (const int number : {1, 2}) {
    if (pool.try_do(call(grpc, number))) grpc.finish(number, "unavailable: full");
  }
  if (pool.try_do(call(grpc, 3))) grpc.finish(3, "unavailable: full");    // refused, and not told
  if (pool.do_evict(call(grpc, 4))) grpc.finish(4, "unavailable: full");  // call 1 is dropped

  const auto end = pool.close_for(10ms);  // calls 2 and 4 are dropped
  if (pool.try_do(call(grpc, 5))) grpc.finish(5, "unavailable: closed");
  grpc.print();
  const auto stats = pool.stats();
  std::printf("close: %s; %llu calls dropped, %llu refused for want of room\n",
              end.message().c_str(), static_cast<unsigned long long>(stats.discarded),
              static_cast<unsigned long long>(stats.rejected));
}
