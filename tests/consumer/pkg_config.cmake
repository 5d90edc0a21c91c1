# What pkg-config says of the installed package builds a program.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

find_program(pkg_config pkg-config)
if(NOT pkg_config)
  message("SKIPPED: no pkg-config here")
  return()
endif()

set(ask ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${prefix}/share/pkgconfig ${pkg_config})
run(${ask} --modversion fanout)
if(NOT output STREQUAL "${version}\n")
  message(FATAL_ERROR "pkg-config knows version ${output}")
endif()
run(${ask} --cflags --libs fanout)
if(NOT status STREQUAL 0)
  message(FATAL_ERROR "${output}")
endif()
separate_arguments(flags UNIX_COMMAND "${output}")
separate_arguments(cxx_flags)
must_pass(${cxx} ${cxx_flags} -std=c++20 ${CMAKE_CURRENT_LIST_DIR}/main.cpp
  ${CMAKE_CURRENT_LIST_DIR}/other.cpp ${flags} -o ${scratch}/program)
must_pass(${scratch}/program)
