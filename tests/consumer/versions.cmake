# find_package takes the versions that fit and refuses the others, and for that reason.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

string(REPLACE . ";" numbers ${version})
list(GET numbers 0 major)
list(GET numbers 1 minor)
list(GET numbers 2 patch)
math(EXPR next_major "${major} + 1")
math(EXPR next_minor "${minor} + 1")
math(EXPR next_patch "${patch} + 1")

set(fit ${major}.${minor} ${version})
set(others 99.0 ${next_major}.${minor} ${major}.${next_minor} ${major}.${minor}.${next_patch})
if(minor GREATER 0)
  math(EXPR last_minor "${minor} - 1")
  list(APPEND others ${major}.${last_minor})
endif()

set(ask ${configure} -S ${CMAKE_CURRENT_LIST_DIR}/find_package -B ${scratch}
  -DCMAKE_PREFIX_PATH=${prefix})
foreach(request IN LISTS fit)
  must_pass(${ask} -Drequest=${request})
endforeach()
foreach(request IN LISTS others)
  must_fail("compatible with requested version \"${request}\"" ${ask} -Drequest=${request})
endforeach()
