# cmake -C cmake/tsan.cmake ...: ThreadSanitizer, assertions on.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer -fsanitize=thread" CACHE STRING "")
# Tests that count allocations define operator new, and so does the runtime that clang links.
set(CMAKE_EXE_LINKER_FLAGS -Wl,-z,muldefs CACHE STRING "")
set(FANOUT_TEST_TIMEOUT 300 CACHE STRING "")
