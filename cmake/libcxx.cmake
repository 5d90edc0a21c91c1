# cmake -C cmake/libcxx.cmake ...: clang with its own library, where jthread is still experimental.
set(CMAKE_CXX_COMPILER clang++-19 CACHE STRING "")
set(CMAKE_CXX_FLAGS "-stdlib=libc++ -fexperimental-library" CACHE STRING "")
