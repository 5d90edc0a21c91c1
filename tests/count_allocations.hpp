// Replaces the global operator new by one that counts and, if asked, fails. For programs of one translation unit.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_COUNT_ALLOCATIONS_HPP
#define FANOUT_TESTS_COUNT_ALLOCATIONS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

// The sanitizer runtimes that clang links statically bring an operator new that is not replaceable.
#define FANOUT_TESTS_COUNT_ALLOCATIONS 1
#if defined(__clang__)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef FANOUT_TESTS_COUNT_ALLOCATIONS
#define FANOUT_TESTS_COUNT_ALLOCATIONS 0
#endif
#endif

namespace support {

/// Every allocation and deallocation of the process, in all threads.
struct allocations {
  static constexpr bool are_counted = FANOUT_TESTS_COUNT_ALLOCATIONS != 0;
  inline static std::atomic<std::uint64_t> made{0};
  inline static std::atomic<std::uint64_t> freed{0};

  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  /// So many more allocations of this thread succeed; then one throws std::bad_alloc, once.
  inline static thread_local constinit std::uint64_t until_failure = never;

  static std::uint64_t alive() { return made.load() - freed.load(); }

  static void* allocate(std::size_t size, std::size_t alignment) {
    if (until_failure != never && until_failure-- == 0) throw std::bad_alloc();
    void* block = nullptr;
    if (alignment <= alignof(std::max_align_t)) {
      block = std::malloc(size == 0 ? 1 : size);
    } else {
      block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    if (block == nullptr) throw std::bad_alloc();
    made.fetch_add(1);
    return block;
  }
  static void free(void* block) noexcept {
    if (block == nullptr) return;
    freed.fetch_add(1);
    std::free(block);
  }
};

}  // namespace support

#if FANOUT_TESTS_COUNT_ALLOCATIONS
void* operator new(std::size_t size) { return support::allocations::allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return support::allocations::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { support::allocations::free(block); }
void operator delete(void* block, std::size_t) noexcept { support::allocations::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { support::allocations::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  support::allocations::free(block);
}
#endif
#undef FANOUT_TESTS_COUNT_ALLOCATIONS

#endif  // FANOUT_TESTS_COUNT_ALLOCATIONS_HPP
