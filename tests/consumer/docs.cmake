# The target docs documents the public API and nothing else, without a warning.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

find_program(doxygen doxygen)
if(NOT doxygen)
  message("SKIPPED: no doxygen here")
  return()
endif()

must_pass(${configure} -S ${source} -B ${scratch}
  -DFANOUT_BUILD_TESTS=OFF -DFANOUT_BUILD_EXAMPLES=OFF -DFANOUT_BUILD_BENCHMARKS=OFF)
run(${CMAKE_COMMAND} --build ${scratch} --target docs)
if(NOT status STREQUAL 0 OR output MATCHES "(warning|error): ")
  message(FATAL_ERROR "${output}")
endif()

# must_say(PAGE WORDS...)
function(must_say page)
  file(READ ${scratch}/docs/html/${page}.html text)
  string(REGEX REPLACE "<[^>]*>" "" text "${text}")
  foreach(words IN LISTS ARGN)
    string(FIND "${text}" "${words}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "${scratch}/docs/html/${page}.html does not say \"${words}\"")
    endif()
  endforeach()
endfunction()

must_say(index Guarantees Preconditions ${version})
must_say(namespacefanout errc would_deadlock make_error_code source_location "pool = basic_pool")
must_say(structfanout_1_1options workers on_worker_stop)
must_say(structfanout_1_1default__policy inline_size allow_heap on_exception context timed spins)
must_say(structfanout_1_1timed__stats wait_time longest_running)
must_say(classfanout_1_1basic__pool try_do do_wait try_do_until try_do_bulk submit schedule
  wait_idle close_for request_stop get_stop_token stats "std::invalid_argument naming the option")
must_say(classfanout_1_1basic__group try_do run wait_for request_stop skipped)

file(GLOB machine RELATIVE ${scratch}/docs/html
  ${scratch}/docs/html/*detail* ${scratch}/docs/html/*_source.html)
if(machine)
  message(FATAL_ERROR "These pages show the machine: ${machine}")
endif()
