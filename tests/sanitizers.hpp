// Which sanitizer this program is built with.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_SANITIZERS_HPP
#define FANOUT_TESTS_SANITIZERS_HPP

#if defined(__has_feature)
#define FANOUT_TESTS_HAS(feature) __has_feature(feature)
#else
#define FANOUT_TESTS_HAS(feature) 0
#endif

namespace support {

#if defined(__SANITIZE_ADDRESS__) || FANOUT_TESTS_HAS(address_sanitizer)
inline constexpr bool has_address_sanitizer = true;
#else
inline constexpr bool has_address_sanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__) || FANOUT_TESTS_HAS(thread_sanitizer)
inline constexpr bool has_thread_sanitizer = true;
#else
inline constexpr bool has_thread_sanitizer = false;
#endif

}  // namespace support

#endif  // FANOUT_TESTS_SANITIZERS_HPP
