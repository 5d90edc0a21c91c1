// What needs no clock: bytes, allocations, claims.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//   counts

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fanout/fanout.hpp>
#include <new>

#include "support.hpp"

namespace {

std::atomic<std::uint64_t> allocations{0}, allocated_bytes{0};

void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(size, std::memory_order_relaxed);
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  if (void* const p = std::aligned_alloc(alignment, rounded)) return p;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

/// The platform under a pool, counting the claims of slots.
struct counting_sync : fanout::detail::native_sync {
  inline static std::atomic<std::uint64_t> claims{0};

  template <class T> class atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    bool compare_exchange_weak(T& expected, T desired, std::memory_order on_success,
                               std::memory_order on_failure) noexcept {
      const bool exchanged =
          std::atomic<T>::compare_exchange_weak(expected, desired, on_success, on_failure);
      if (exchanged && sizeof(T) == sizeof(std::uint64_t)) claims.fetch_add(1);
      return exchanged;
    }
  };
};
struct counting_policy : fanout::default_policy {
  using sync = counting_sync;
};

/// Bytes of a pool with its heap blocks, and without its slots and its threads' stacks.
double pool_bytes(std::size_t workers) {
  constexpr double slots = bench::buffer * sizeof(fanout::detail::slot<fanout::default_policy>);
  const std::uint64_t before = allocated_bytes;
  const fanout::pool pool({.workers = workers, .buffer = bench::buffer});
  const auto all = static_cast<double>(allocated_bytes - before + sizeof pool);
  return all < slots ? all : all - slots;  // slots may come from elsewhere than operator new
}

void memory() {
  constexpr std::size_t more = 16;
  const double of_one = pool_bytes(1), of_a_worker = (pool_bytes(1 + more) - of_one) / more;
  bench::report("slot_bytes", sizeof(fanout::detail::slot<fanout::default_policy>));
  bench::report("pool_bytes", of_one - of_a_worker);
  bench::report("worker_bytes", of_a_worker);
}

#if defined(__linux__)
/// Bytes of memory that the process has touched.
double resident_bytes() {
  long size = 0, resident = 0;
  if (std::FILE* const file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// What a slot costs before it is used for the first time.
void untouched() {
  constexpr std::size_t slots = 1 << 20;
  const double before = resident_bytes();
  const fanout::pool pool({.buffer = slots});
  bench::report("untouched_slot_bytes", (resident_bytes() - before) / slots);
}
#else
void untouched() {}
#endif

template <class Pool> void eviction(Pool& full) {
  if constexpr (requires { full.do_evict(bench::task{}); }) {
    const std::uint64_t before = allocations;
    for (std::size_t i = 0; i < bench::buffer; ++i) {
      if (full.do_evict(bench::task{})) bench::fail("a full buffer did not evict");
    }
    bench::report("allocations_per_eviction",
                  static_cast<double>(allocations - before) / bench::buffer);
  }
}

void allocation() {
  fanout::pool pool({.buffer = bench::buffer});
  bench::gate gate;
  if (pool.try_do(gate.closing())) bench::fail("an empty buffer refused");
  gate.wait_until_held();
  std::uint64_t before = allocations;
  for (std::size_t i = 0; i < bench::buffer; ++i) {
    if (pool.try_do(bench::task{})) bench::fail("the buffer does not hold its bound");
  }
  gate.open();
  pool.wait_idle();
  bench::report("allocations_per_task", static_cast<double>(allocations - before) / bench::buffer);

  if (pool.try_do(gate.closing())) bench::fail("an empty buffer refused");
  gate.wait_until_held();
  while (!pool.try_do(bench::task{})) {
  }
  before = allocations;
  for (std::size_t i = 0; i < bench::buffer; ++i) {
    if (!pool.try_do(bench::task{})) bench::fail("a full buffer accepted");
  }
  bench::report("allocations_per_refusal",
                static_cast<double>(allocations - before) / bench::buffer);
  eviction(pool);
  gate.open();
}

void claims() {
  fanout::basic_pool<counting_policy> pool({.buffer = bench::buffer});
  bench::gate gate;
  if (pool.try_do(gate.closing())) bench::fail("an empty buffer refused");
  gate.wait_until_held();
  const std::uint64_t before = counting_sync::claims;
  const std::array<bench::task, 64> tasks{};
  if (pool.try_do_bulk(tasks).error) bench::fail("an empty buffer refused");
  bench::report("claims_per_bulk", static_cast<double>(counting_sync::claims - before));
  gate.open();
}

}  // namespace

int main() {
  memory();
  untouched();
  allocation();
  claims();
}
