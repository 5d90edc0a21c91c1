# A plain `cmake -S . -B build` needs no network: what has no library here is left out, and said.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

# What a system without GoogleTest and Google Benchmark, and without a network, has.
set(bare -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON -DCMAKE_DISABLE_FIND_PACKAGE_benchmark=ON
  -DFETCHCONTENT_FULLY_DISCONNECTED=ON)
run(${configure} -S ${source} -B ${scratch}/build ${bare} -DFANOUT_BUILD_EXAMPLES=OFF)
if(NOT status STREQUAL 0)
  message(FATAL_ERROR "${output}")
endif()
foreach(what tests benchmarks)
  if(NOT output MATCHES "fanout: the ${what} are left out")
    message(FATAL_ERROR "It does not say that the ${what} are left out:\n${output}")
  endif()
endforeach()
must_pass(${CMAKE_COMMAND} --build ${scratch}/build)
must_pass(${CMAKE_COMMAND} --install ${scratch}/build --prefix ${scratch}/prefix)
must_pass(test -f ${scratch}/prefix/include/fanout/fanout.hpp)
