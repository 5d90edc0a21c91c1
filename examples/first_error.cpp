// A set of tasks of which one fails: the rest stops, and whoever waits learns why.

#include <fanout/fanout.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <stop_token>
#include <string>

constexpr std::size_t shards = 100, corrupt = 3;

/// Reads a shard to its end, block by block; false if it was told to stop before.
bool verify(std::size_t shard, const std::stop_token& stop) {
  for (std::size_t block = 0; block < 1'000'000'000'000; ++block) {
    if (stop.stop_requested()) return false;
    if (shard == corrupt && block == 1000) {
      throw std::runtime_error("shard " + std::to_string(shard) + ": bad checksum in block 1000");
    }
  }
  return true;
}

int main() {
  fanout::pool pool{{.name = "verify", .workers = 4}};
  std::atomic<std::size_t> complete = 0, stopped = 0, refused = 0;

  fanout::group all{pool};
  for (std::size_t shard = 0; shard < shards; ++shard) {
    // A task that takes a std::stop_token gets its group's, which the first failure stops.
    const auto err = all.run(
        [&, shard](const std::stop_token& stop) { verify(shard, stop) ? ++complete : ++stopped; });
    if (err) ++refused;  // err == fanout::errc::canceled: one has failed already
  }

  try {
    all.wait();
    std::cout << "all shards are good\n";
  } catch (const std::exception& first) {
    std::cout << first.what() << '\n';
  }

  // How many were running, waiting or not yet submitted then is different in each run.
  std::cout << complete << " read to the end, " << stopped + all.skipped() + refused
            << " stopped, skipped or refused\n";
}
