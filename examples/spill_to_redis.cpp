// When one process is not enough: jobs that its full pool refuses go to a Redis stream, from which
// other processes take them into pools of their own.
//
//   spill_to_redis PORT produce JOBS   offers jobs 1 to JOBS, runs what it can, spills the rest
//   spill_to_redis PORT consume NAME   takes spilled jobs until SIGTERM
//
// A job leaves the stream after its run; those of a consumer that died are claimed by another. So
// each runs at least once. Prints the number of each job that has run.

#include <fanout/fanout.hpp>

#include <pthread.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "redis.hpp"

using namespace std::chrono_literals;

/// Stands for 5 ms of waiting for somebody else. Done twice, a job is done all the same.
void run(const std::string& job) {
  std::this_thread::sleep_for(5ms);
  std::printf("%s\n", job.c_str());
}

int produce(int port, int jobs) {
  redis stream{port, 1s};
  fanout::pool pool{{.name = "producer", .workers = 2, .buffer = 8}};
  int spilled = 0;
  for (int i = 1; i <= jobs; ++i) {
    const std::string job = std::to_string(i);
    if (pool.try_do([job] { run(job); }) == fanout::ErrFull) {
      stream("XADD jobs * job %s", job.c_str());  // throws unless Redis has it
      ++spilled;
    }
  }
  pool.close();
  std::fprintf(stderr, "%d jobs ran here, %d went to the stream\n", jobs - spilled, spilled);
  return 0;
}

class consumer {
 public:
  consumer(int port, std::string name) : port_(port), name_(std::move(name)) {
    try {
      stream_("XGROUP CREATE jobs workers 0 MKSTREAM");
    } catch (const std::runtime_error& why) {
      if (!std::string_view{why.what()}.starts_with("BUSYGROUP")) throw;  // another was faster
    }
  }

  /// Looks for new jobs, and for what has not been acknowledged for a second.
  void look() {
    const auto fresh =
        stream_("XREADGROUP GROUP workers %s COUNT 8 BLOCK 100 STREAMS jobs >", name_.c_str());
    if (fresh->type == REDIS_REPLY_ARRAY) take(*fresh->element[0]->element[1]);
    const auto claimed = stream_("XAUTOCLAIM jobs workers %s 1000 0 COUNT 8", name_.c_str());
    take(*claimed->element[1]);
  }

 private:
  void take(const redisReply& entries) {
    for (std::size_t i = 0; i < entries.elements; ++i) {
      const redisReply& entry = *entries.element[i];
      // A full pool holds the reader back: what it has not read, another consumer may.
      const auto err = pool_.do_wait([this, id = std::string(entry.element[0]->str),
                                      job = std::string(entry.element[1]->element[1]->str)] {
        run(job);
        // What throws before this stays in the stream, and is claimed again.
        thread_local redis done{port_, 1s};
        done("EVAL %s 1 jobs %s",
             "redis.call('XACK', KEYS[1], 'workers', ARGV[1]);"
             "return redis.call('XDEL', KEYS[1], ARGV[1])",
             id.c_str());
      });
      if (err) throw std::system_error{err};
    }
  }

  const int port_;
  const std::string name_;
  redis stream_{port_, 1s};
  fanout::pool pool_{{.name = "consumer", .workers = 2, .buffer = 8}};  // its end drains it
};

int main(int argc, char** argv) try {
  const std::string_view role = argc == 4 ? argv[2] : "";
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (role == "produce") return produce(std::stoi(argv[1]), std::stoi(argv[3]));
  if (role != "consume") {
    std::fputs("usage: spill_to_redis PORT produce JOBS | consume NAME\n", stderr);
    return 2;
  }
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // of the workers too

  consumer of{std::stoi(argv[1]), argv[3]};
  for (const timespec now{}; sigtimedwait(&ending, nullptr, &now) != SIGTERM;) of.look();
} catch (const std::exception& e) {
  std::fprintf(stderr, "spill_to_redis: %s\n", e.what());
  return 2;
}
