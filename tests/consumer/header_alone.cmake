# The header compiles as a file of its own, and two copies of it meet in one unit.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

set(header ${source}/include/fanout/fanout.hpp)
separate_arguments(cxx_flags)
set(compile ${cxx} ${cxx_flags} -std=c++20 ${strict} -fsyntax-only -x c++)
must_pass(${compile} ${header})

file(COPY ${header} DESTINATION ${scratch}/installed)
file(COPY ${header} DESTINATION ${scratch}/vendored)
file(WRITE ${scratch}/both.cpp
  "#include \"installed/fanout.hpp\"\n#include \"vendored/fanout.hpp\"\nint main() {}\n")
must_pass(${compile} ${scratch}/both.cpp)
