// Conservation: whatever is mixed (submissions, evictions, purges, groups with and without limits, stops,
// closes of each kind), at rest each accepted task has run or was told that it is discarded, once, and
// stats() says the same.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "load.hpp"
#include "support.hpp"

namespace {

using namespace std::chrono_literals;

struct ledger {
  std::atomic<std::uint64_t> attempts{0}, accepted{0}, ran{0}, told{0};

  bool enter(const std::error_code& answer) {
    attempts.fetch_add(1, std::memory_order_relaxed);
    if (!answer) accepted.fetch_add(1, std::memory_order_relaxed);
    return !answer;
  }
};
class entry : public fanout::discardable {
 public:
  explicit entry(ledger& in) noexcept : in_(&in) {}
  void operator()() const { in_->ran.fetch_add(1, std::memory_order_relaxed); }
  void discard() noexcept { in_->told.fetch_add(1, std::memory_order_relaxed); }

 private:
  ledger* in_;
};

template <class Policy> class mixer {
 public:
  mixer(fanout::basic_pool<Policy>& pool, ledger& in, std::uint32_t seed)
      : pool_(pool), in_(in), dice_(seed) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
  }

 private:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(dice_()) % n; }

  void step() {
    switch (below(9)) {
      case 0:
      case 1: in_.enter(pool_.try_do(entry(in_))); break;
      case 2:
      case 3: in_.enter(pool_.do_evict(entry(in_))); break;
      case 4: in_.enter(pool_.try_do_for(100us, entry(in_))); break;
      case 5:
        if (below(8) == 0) pool_.purge();
        break;
      case 6:
        if (below(8) == 0) static_cast<void>(pool_.wait_idle_for(300us));
        break;
      default: use_group();
    }
  }

  void use_group() {
    fanout::basic_group<Policy> group{pool_, {.limit = below(3), .on_workers = below(3) == 0}};
    const std::uint32_t tasks = below(50);
    const bool stops = below(8) == 0;
    for (std::uint32_t i = 0; i < tasks; ++i) {
      if (stops && i == tasks / 2) group.request_stop();
      in_.enter(below(2) == 0 ? group.run(entry(in_)) : group.try_do(entry(in_)));
    }
    if (below(3) != 0) static_cast<void>(group.wait());  // else the destructor skips
  }

  fanout::basic_pool<Policy>& pool_;
  ledger& in_;
  std::mt19937 dice_;
};

template <class Policy> std::uint64_t round_of(std::uint32_t seed) {
  std::mt19937 dice(seed);
  ledger in;
  fanout::basic_pool<Policy> pool{{.workers = 1 + dice() % 4,
                                   .buffer = 1 + dice() % 8,
                                   .wake_delay = std::chrono::microseconds(dice() % 2 * 200)}};
  const auto how = dice() % 4;
  const auto pause = std::chrono::microseconds(dice() % 20'000);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back(
          [&, own = static_cast<std::uint32_t>(dice())] { mixer<Policy>(pool, in, own).run(300); });
    }
    std::this_thread::sleep_for(pause);  // the close comes somewhere in between
    std::stop_source cut;
    switch (how) {
      case 0: pool.close(); break;
      case 1: static_cast<void>(pool.close_for(pause / 64)); break;
      case 2: {
        const std::jthread second_signal([&] { cut.request_stop(); });
        static_cast<void>(pool.close(cut.get_token()));
        break;
      }
      default:
        pool.request_stop();
        pool.purge();
        pool.close();
    }
  }
  const auto stats = pool.stats();
  EXPECT_EQ(in.accepted, in.ran + in.told) << "seed " << seed;
  EXPECT_EQ(stats.accepted, in.accepted) << "seed " << seed;
  EXPECT_EQ(stats.completed, in.ran) << "seed " << seed;
  EXPECT_EQ(stats.discarded, in.told) << "seed " << seed;
  return in.attempts;
}

// FANOUT_TEST_ATTEMPTS asks for more than the suite's.
TEST(Conservation, HoldsAtRestWhateverIsMixed) {
  const char* const wanted = std::getenv("FANOUT_TEST_ATTEMPTS");
  const std::uint64_t attempts =
      wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : support::load(400'000);
  std::uint64_t sum = 0;
  auto seed = static_cast<std::uint32_t>(support::seed());
  while (sum < attempts && !testing::Test::HasFailure()) {
    sum += round_of<fanout::default_policy>(++seed);
    sum += round_of<fanout::timed_policy>(++seed);
  }
  std::printf("%llu attempts\n", static_cast<unsigned long long>(sum));
}

}  // namespace
