// soak [ATTEMPTS|SECONDSs]: 16 producers at a pool of 64 slots, in rounds that a close ends, and a
// table of what became of every attempt. 1 when a task was lost, ran twice or ran though refused,
// when counts disagree, or when memory grew.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__linux__)
#include <unistd.h>
#endif

#include "../load.hpp"

namespace {

using support::answers;
using support::bitmap;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t producers = 16, capacity = 64;
constexpr std::size_t worker_counts[] = {1, 2, 4, 8, 16};

struct sleepy : fanout::default_policy {
  static constexpr unsigned spins = 0;
};

/// Memory of this process in KiB; 0: not known here.
std::size_t resident() {
  std::size_t pages = 0;
#if defined(__linux__)
  if (std::FILE* const file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*u %zu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  pages *= static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
#endif
  return pages;
}

using number = unsigned long long;

class soak {
 public:
  explicit soak(std::size_t share)
      : share_(share), accepted_(share * producers), ran_(share * producers) {
    std::printf("%-6s %-7s %7s %12s %12s %12s %10s %10s %12s %6s %9s\n", "round", "spins",
                "workers", "attempts", "accepted", "full", "timed out", "closed", "ran", "s",
                "RSS KiB");
  }

  void round() {
    if (rounds_ % 2 == 0) {
      run<fanout::default_policy>();
    } else {
      run<sleepy>();
    }
  }

  bool finish() const {
    print("all", "", "", all_, ran_in_all_, seconds_);
#if defined(FANOUT_TESTS_SANITIZED)
    const bool flat = true;  // the memory of the sanitizer's runtime is not ours to judge
#else
    const bool flat = last_rss_ <= first_rss_ + 4096;
#endif
    std::printf(
        "%s: accepted + refused + closed %s attempts, each accepted task ran once%s; "
        "memory %s\n",
        is_right_ && flat ? "passed" : "FAILED", is_right_ ? "=" : "!=", is_right_ ? "" : " (NOT)",
        flat ? "flat" : "GREW");
    return is_right_ && flat;
  }

  std::uint64_t attempts() const { return all_.attempts; }

 private:
  template <class Policy> void run() {
    using pool = fanout::basic_pool<Policy>;
    const auto began = clock_type::now();
    const std::size_t workers = worker_counts[rounds_ % std::size(worker_counts)];
    const std::uint64_t stream = (rounds_ + 1) * 100;
    support::dice draw(stream);
    accepted_.clear();
    ran_.clear();
    std::vector<std::atomic<std::size_t>> offered(producers);
    std::vector<answers> told(producers);
    pool p{{.workers = workers, .buffer = capacity}};
    {
      const support::watchdog<pool> progress(p, "round " + std::to_string(rounds_ + 1));
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < producers; ++t) {
        threads.emplace_back([&, t] {
          const support::plan mine{.first = t * share_,
                                   .last = (t + 1) * share_,
                                   .stream = stream + t + 1,
                                   .insists = false,
                                   .rest_one_in = 64};
          told[t] = support::producer<pool>(p, accepted_, ran_, offered[t]).run(mine);
        });
      }
      // At seven eighths or later, so that some attempts come too late.
      const std::size_t all = producers * share_;
      const std::size_t when = all - draw.below(all / 8 + 1);
      support::wait_until([&] {
        std::size_t sum = 0;
        for (const auto& one : offered) sum += one.load(std::memory_order_relaxed);
        return sum >= when;
      });
      p.close();
      for (auto& thread : threads) thread.join();
    }

    answers sum;
    for (const answers& one : told) sum += one;
    const auto stats = p.stats();
    is_right_ &= sum.attempts == sum.accepted + sum.full + sum.timed_out + sum.closed &&
                 sum.touched == 0 && ran_.duplicates() == 0 && ran_ == accepted_ &&
                 stats.accepted == sum.accepted && stats.completed == sum.accepted &&
                 stats.rejected == sum.calls_full;
    last_rss_ = resident();
    if (++rounds_ <= 2) first_rss_ = last_rss_;  // by then each kind of round has run
    all_ += sum;
    ran_in_all_ += stats.completed;
    const double seconds = std::chrono::duration<double>(clock_type::now() - began).count();
    seconds_ += seconds;
    print(std::to_string(rounds_).c_str(), std::is_same_v<Policy, sleepy> ? "0" : "default",
          std::to_string(workers).c_str(), sum, stats.completed, seconds);
  }

  void print(const char* round, const char* spins, const char* workers, const answers& a,
             std::uint64_t ran, double seconds) const {
    std::printf("%-6s %-7s %7s %12llu %12llu %12llu %10llu %10llu %12llu %6.1f %9zu\n", round,
                spins, workers, number{a.attempts}, number{a.accepted}, number{a.full},
                number{a.timed_out}, number{a.closed}, number{ran}, seconds, last_rss_);
    std::fflush(stdout);
  }

  const std::size_t share_;
  bitmap accepted_, ran_;
  std::size_t rounds_ = 0;
  answers all_;
  std::uint64_t ran_in_all_ = 0;
  double seconds_ = 0;
  std::size_t first_rss_ = 0, last_rss_ = 0;
  bool is_right_ = true;
};

}  // namespace

int main(int count, char** words) {
  const char* const word = count > 1 ? words[1] : "100000000";
  char* unit = nullptr;
  const auto amount = std::strtoull(word, &unit, 10);
  const bool timed = std::strcmp(unit, "s") == 0;
  if (count > 2 || amount == 0 || (*unit != '\0' && !timed)) {
    std::fputs("soak [ATTEMPTS|SECONDSs]\n", stderr);
    return 2;
  }
  static_cast<void>(support::seed());
  // Ten rounds; by time, as many of a million as there is time for.
  const std::size_t attempts = timed ? 10'000'000 : static_cast<std::size_t>(amount);
  soak test((attempts + 10 * producers - 1) / (10 * producers));
  const auto until = clock_type::now() + std::chrono::seconds(timed ? amount : 0);
  do {
    test.round();
  } while (timed ? clock_type::now() < until : test.attempts() < attempts);
  return test.finish() ? 0 : 1;
}
