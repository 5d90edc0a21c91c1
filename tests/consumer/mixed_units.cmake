# Units compiled with and without exceptions have different pools, and sharing one is a link error,
# not a crash. Pools of their own live in one program.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

separate_arguments(cxx_flags)
set(compile ${cxx} ${cxx_flags} -std=c++20 ${strict} -pthread -I${source}/include)
set(other ${CMAKE_CURRENT_LIST_DIR}/other.cpp)
must_pass(${compile} -fno-exceptions -fno-rtti -c ${other} -o ${scratch}/other.o)
must_fail(submit_in_other_unit
  ${compile} ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${scratch}/other.o -o ${scratch}/program)

file(WRITE ${scratch}/own.cpp "
#include <fanout/fanout.hpp>
int run_pool() {
  int done = 0;
  fanout::pool pool;
  if (pool.try_do([&] { done = 1; }) || pool.close()) return 0;
  return done;
}")
file(WRITE ${scratch}/both.cpp "
#include \"own.cpp\"
int run_other_pool();
int main() { return run_pool() + run_other_pool() == 2 ? 0 : 1; }")
must_pass(${compile} -Drun_pool=run_other_pool -fno-exceptions -fno-rtti
  -c ${scratch}/own.cpp -o ${scratch}/own.o)
must_pass(${compile} ${scratch}/both.cpp ${scratch}/own.o -o ${scratch}/program)
must_pass(${scratch}/program)
