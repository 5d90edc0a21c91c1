// Stands before pthread_create and, if asked, lets it fail. For one translation unit of a program.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_FAIL_THREAD_START_HPP
#define FANOUT_TESTS_FAIL_THREAD_START_HPP

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace support {

struct thread_starts {
  using function = int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

  /// So many more threads start; then one fails with EAGAIN, once. Negative: all start.
  inline static std::atomic<int> until_failure{-1};
  /// Called before that failure, if there is one.
  inline static std::atomic<void (*)()> before_failure{nullptr};
};

}  // namespace support

// Clang links its sanitizers into the program: what RTLD_NEXT finds is behind their backs.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
extern "C" support::thread_starts::function __interceptor_pthread_create;
#define FANOUT_TEST_FORWARD __interceptor_pthread_create
#endif
#endif

// By its assembler name, because libraries declare it differently.
extern "C" int fanout_test_create(pthread_t*, const pthread_attr_t*, void* (*)(void*),
                                  void*) __asm__("pthread_create");

extern "C" __attribute__((visibility("default"))) int fanout_test_create(
    pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  using support::thread_starts;
#if defined(FANOUT_TEST_FORWARD)
  constexpr auto next = &FANOUT_TEST_FORWARD;
#else
  static const auto next =
      reinterpret_cast<thread_starts::function*>(::dlsym(RTLD_NEXT, "pthread_create"));
#endif
  if (thread_starts::until_failure >= 0 && thread_starts::until_failure-- == 0) {
    if (const auto call = thread_starts::before_failure.load()) call();
    return EAGAIN;
  }
  return next(thread, attributes, start, argument);
}

#endif  // FANOUT_TESTS_FAIL_THREAD_START_HPP
