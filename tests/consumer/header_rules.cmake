# The header has no line above 100 columns and none of the words that do not belong in it.
file(READ ${source}/include/fanout/fanout.hpp text)

# The standard semaphores lose wake-ups (libstdc++ PR 104928, libc++ 77659).
foreach(word counting_semaphore binary_semaphore <semaphore> TODO FIXME)
  string(FIND "${text}" "${word}" at)
  if(NOT at EQUAL -1)
    message(FATAL_ERROR "fanout.hpp says ${word}")
  endif()
endforeach()

string(REPEAT "[^\n]" 101 long)
if(text MATCHES "${long}[^\n]*")
  message(FATAL_ERROR "fanout.hpp has a line above 100 columns:\n${CMAKE_MATCH_0}")
endif()
