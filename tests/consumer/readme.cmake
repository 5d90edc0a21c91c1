# The first program in README.md is examples/quickstart.cpp, byte for byte.
file(READ ${source}/README.md readme)
file(READ ${source}/examples/quickstart.cpp quickstart)

set(opening "\n```cpp\n")
string(FIND "${readme}" "${opening}" begin)
if(begin EQUAL -1)
  message(FATAL_ERROR "README.md has no block of cpp")
endif()
string(LENGTH "${opening}" length)
math(EXPR begin "${begin} + ${length}")
string(SUBSTRING "${readme}" ${begin} -1 program)
string(FIND "${program}" "\n```\n" end)
math(EXPR end "${end} + 1")
string(SUBSTRING "${program}" 0 ${end} program)

if(NOT program STREQUAL quickstart)
  message(FATAL_ERROR "The first program in README.md is not examples/quickstart.cpp:\n${program}")
endif()
