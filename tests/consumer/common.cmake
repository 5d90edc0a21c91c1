# Shared by the checks: run a command, demand an outcome, start each check in an empty folder.

set(strict -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror)

# run(COMMAND...): sets status and output.
function(run)
  execute_process(COMMAND ${ARGN}
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(status "${status}" PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

# must_pass(COMMAND...): the command ends with 0.
function(must_pass)
  run(${ARGN})
  if(NOT status STREQUAL 0)
    list(JOIN ARGN " " command)
    message("${command}\n${output}")
    message(FATAL_ERROR "That command ended with ${status}.")
  endif()
endfunction()

# must_fail(WORDS COMMAND...): the command ends with something else, and says WORDS.
function(must_fail words)
  run(${ARGN})
  string(REGEX REPLACE "[ \n]+" " " said "${output}")
  string(FIND "${said}" "${words}" at)
  if(status STREQUAL 0 OR at EQUAL -1)
    list(JOIN ARGN " " command)
    message("${command}\n${output}")
    message(FATAL_ERROR "That command must fail with \"${words}\", and ended with ${status}.")
  endif()
endfunction()

# copy_work_tree(DESTINATION): the work tree as the next commit would have it; sets copied unless
# the source is none.
function(copy_work_tree destination)
  find_program(git git)
  if(NOT git)
    message("SKIPPED: no git here")
    return()
  endif()
  run(${git} -c safe.directory=* -C ${source} ls-files --cached --others --exclude-standard)
  if(NOT status STREQUAL 0)
    message("SKIPPED: ${source} is no git work tree")
    return()
  endif()
  string(REPLACE "\n" ";" files "${output}")
  foreach(file IN LISTS files)
    if(file AND EXISTS ${source}/${file})
      cmake_path(GET file PARENT_PATH folder)
      file(COPY ${source}/${file} DESTINATION ${destination}/${folder})
    endif()
  endforeach()
  set(copied TRUE PARENT_SCOPE)
endfunction()

# The command that configures a project with the toolchain of the tests.
set(configure ${CMAKE_COMMAND} -G ${generator} -DCMAKE_MAKE_PROGRAM=${make_program}
  -DCMAKE_CXX_COMPILER=${cxx} -DCMAKE_CXX_FLAGS=${cxx_flags} -DCMAKE_BUILD_TYPE=Debug)

file(REMOVE_RECURSE ${scratch})
file(MAKE_DIRECTORY ${scratch})
