# Each block of C++ in the pages compiles where readme_snippets.cpp.in has a place for it, without a
# warning, and runs. The first is the quickstart, which readme_commands.cmake compiles.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/readme_blocks.cmake)

file(READ ${CMAKE_CURRENT_LIST_DIR}/readme_snippets.cpp.in program)
set(is_first TRUE)
foreach(n IN LISTS blocks)
  if(NOT block_${n}_language STREQUAL cpp)
    continue()
  endif()
  if(is_first)
    set(is_first FALSE)
    continue()
  endif()
  set(place "//@ ${block_${n}_name}\n")
  string(FIND "${program}" "${place}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "${block_${n}_page}:${block_${n}_line}: this block of C++ has no name, or \
readme_snippets.cpp.in has no place for the name \"${block_${n}_name}\"")
  endif()
  string(REPLACE "${place}" "#line ${block_${n}_line} \"${block_${n}_page}\"\n${block_${n}}#line 1 \"after\"\n"
    program "${program}")
endforeach()
if(program MATCHES "//@ [a-z_ ]+")
  message(FATAL_ERROR "no page has a block for the place ${CMAKE_MATCH_0}")
endif()
file(WRITE ${scratch}/snippets.cpp "${program}")

separate_arguments(cxx_flags)
must_pass(${cxx} ${cxx_flags} -std=c++20 ${strict} -pthread -I${source}/include
  ${scratch}/snippets.cpp -o ${scratch}/snippets)
must_pass(${scratch}/snippets)
