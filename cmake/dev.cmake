# What the tests, examples and benchmarks of this repository share. Users of the library see none
# of it.

option(FANOUT_DEV_WERROR "Take a warning for an error" ON)

# fanout_dev_target(TARGET): a program of this repository, compiled with every warning.
function(fanout_dev_target target)
  target_link_libraries(${target} PRIVATE fanout::fanout)
  if(MSVC)
    target_compile_options(${target} PRIVATE /W4 /permissive- $<$<BOOL:${FANOUT_DEV_WERROR}>:/WX>)
  else()
    target_compile_options(${target} PRIVATE
      -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
      $<$<BOOL:${FANOUT_DEV_WERROR}>:-Werror>)
  endif()
endfunction()
