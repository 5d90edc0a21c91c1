# cmake -C cmake/asan.cmake ...: AddressSanitizer and UndefinedBehaviorSanitizer, assertions on.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG
  "-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
  CACHE STRING "")
set(FANOUT_TEST_TIMEOUT 300 CACHE STRING "")
