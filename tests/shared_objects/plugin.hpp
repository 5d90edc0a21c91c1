// What a plugin offers to its host; each has a copy of fanout of its own.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.

#ifndef FANOUT_TESTS_SHARED_OBJECTS_PLUGIN_HPP
#define FANOUT_TESTS_SHARED_OBJECTS_PLUGIN_HPP

#include <fanout/fanout.hpp>

#include <system_error>

struct plugin {
  bool (*is_full)(const std::error_code&);  // and nothing else, by every comparison
  std::error_code (*full_code)();
  std::error_code (*close)(fanout::pool&);
  std::error_code (*do_wait)(fanout::pool&);
  std::error_code (*wait_idle)(fanout::pool&);
  bool (*use_own_pool)();  // makes, uses and closes one
  fanout::pool* (*make_pool)();
  void (*destroy)(fanout::pool*);
};

extern "C" __attribute__((visibility("default"))) const plugin* fanout_test_plugin();

#endif  // FANOUT_TESTS_SHARED_OBJECTS_PLUGIN_HPP
