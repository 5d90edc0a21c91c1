# Two translation units that include the header link into one program and share a pool.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

separate_arguments(cxx_flags)
must_pass(${cxx} ${cxx_flags} -std=c++20 ${strict} -pthread -I${source}/include
  ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${CMAKE_CURRENT_LIST_DIR}/other.cpp -o ${scratch}/program)
must_pass(${scratch}/program)
