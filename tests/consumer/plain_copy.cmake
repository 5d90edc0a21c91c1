# The header alone, copied beside a program, builds with a bare compiler command and no warning.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

find_program(command_path ${compiler})
if(NOT command_path)
  message("SKIPPED: no ${compiler} here")
  return()
endif()

file(COPY ${source}/include/fanout/fanout.hpp ${CMAKE_CURRENT_LIST_DIR}/plain_copy.cpp
  DESTINATION ${scratch})
# The optimizer finds things to warn of that the parser does not.
foreach(level -O0 -O3)
  must_pass(${command_path} -std=c++20 ${level} ${strict} -pthread
    ${scratch}/plain_copy.cpp -o ${scratch}/program)
  must_pass(${scratch}/program)
endforeach()
