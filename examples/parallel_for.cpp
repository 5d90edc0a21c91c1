// parallel_for in a dozen lines on a group: the caller helps, and waits for its own tasks only.

#include <fanout/fanout.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <thread>
#include <vector>

/// Calls body(first, last) for parts of [0, size), on the pool's workers and on this thread.
template <class Body>
void parallel_for(fanout::pool& pool, std::size_t size, std::size_t part, const Body& body) {
  fanout::group parts{pool};
  for (std::size_t first = 0; first < size; first += part) {
    const std::size_t last = std::min(size, first + part);
    // run() always finds room: where the group has none, the part runs here and now.
    if (parts.run([&body, first, last] { body(first, last); })) break;  // one failed: no more
  }
  parts.wait();  // helps, sleeps until the others have ended, rethrows the first failure
}

/// How many steps the Collatz sequence takes from n to 1.
std::uint32_t steps_from(std::uint64_t n) {
  std::uint32_t steps = 0;
  for (; n > 1; ++steps) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  return steps;
}

template <class F> double seconds_of(const F& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int main() {
  constexpr std::size_t size = 1'000'000;
  std::vector<std::uint32_t> one_by_one(size), in_parallel(size);

  const auto fill = [](std::vector<std::uint32_t>& steps, std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) steps[i] = steps_from(i);
  };
  const double alone = seconds_of([&] { fill(one_by_one, 0, size); });

  // The caller works too, so one worker less than there are cores.
  const std::size_t threads = std::max(2u, std::thread::hardware_concurrency());
  fanout::pool pool{{.name = "parts", .workers = threads - 1}};
  const double together = seconds_of([&] {
    parallel_for(pool, size, 4096,
                 [&](std::size_t first, std::size_t last) { fill(in_parallel, first, last); });
  });

  const auto longest = std::max_element(in_parallel.begin(), in_parallel.end());
  std::cout << "longest below " << size << ": " << longest - in_parallel.begin() << " with "
            << *longest << " steps\n"
            << "both agree: " << (one_by_one == in_parallel ? "yes" : "no") << '\n'
            << "speed-up on " << threads << " threads: " << std::fixed << std::setprecision(1)
            << alone / together << '\n';
  return one_by_one == in_parallel ? 0 : 1;
}
