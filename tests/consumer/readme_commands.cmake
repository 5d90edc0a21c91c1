# What the pages tell a new user to type works in a fresh copy of the repository, from top to
# bottom, and programs print what it says. A few commands have stand-ins, because a test changes
# nothing outside its folder:
#
#   the scripts called run    must exist and say in their own help what README.md makes them do:
#                             they install packages and take minutes
#   /usr/local                a folder of the test
#   sudo, apt-get             unpack the package there
#   g++                       the compiler of this build
#   ./sizing SECONDS          0.05 seconds, which draws the same curves badly
#   gnuplot, target docs      left out where gnuplot or doxygen is not installed
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/readme_blocks.cmake)

set(clone ${scratch}/clone)
copy_work_tree(${clone})
if(NOT copied)
  return()
endif()

# stand_in(COMMAND SCRIPT)
function(stand_in command script)
  file(WRITE ${scratch}/bin/${command} "#!/bin/sh\nset -eu\n${script}\n")
  file(CHMOD ${scratch}/bin/${command} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

stand_in(g++ "exec '${cxx}' ${cxx_flags} \"$@\"")
stand_in(sudo "exec \"$@\"")
stand_in(apt-get "[ $# = 2 ] && [ \"$1\" = install ] && [ -e \"$2\" ]
case $2 in ./*.deb) exec dpkg-deb --extract \"$2\" '${scratch}/root' ;; esac
exit 1")
find_program(gnuplot gnuplot)
if(NOT gnuplot)
  stand_in(gnuplot "[ -e \"$2\" ] && [ -s \"$3\" ]")
endif()
find_program(doxygen doxygen)
set(environment ${CMAKE_COMMAND} -E env PATH=${scratch}/bin:$ENV{PATH} CMAKE_GENERATOR=${generator}
  CXX=${cxx})

foreach(n IN LISTS blocks)
  if(NOT block_${n}_language STREQUAL sh)
    continue()
  endif()
  set(commands "${block_${n}}")

  # The scripts: their help is the comment at their head.
  while(commands MATCHES "(^|\n)(([a-z.]+/run)( [^#\n]*[^# \n])?)( *#[^\n]*)?\n")
    set(match "${CMAKE_MATCH_0}")
    set(words "${CMAKE_MATCH_2}")
    set(script ${clone}/${CMAKE_MATCH_3})
    must_pass(test -x ${script})
    file(READ ${script} help)
    string(FIND "${help}" "#   ${words}" at)
    if(at EQUAL -1 AND NOT words STREQUAL ".ci/run")
      message(FATAL_ERROR "${block_${n}_page}:${block_${n}_line}: ${script} does not know \"${words}\"")
    endif()
    string(REPLACE "${match}" "\n" commands "${commands}")
  endwhile()

  string(REPLACE /usr/local ${scratch}/root/usr commands "${commands}")
  string(REGEX REPLACE "\\./sizing [0-9]+" "./sizing 0.05" commands "${commands}")
  if(NOT doxygen)
    string(REGEX REPLACE "[^\n]*--target docs[^\n]*\n" "" commands "${commands}")
  endif()
  file(WRITE ${scratch}/commands_${n} "set -eu\n${commands}")
  message("${block_${n}_page}:${block_${n}_line}:\n${commands}")
  execute_process(COMMAND ${environment} sh ${scratch}/commands_${n}
    WORKING_DIRECTORY ${clone} RESULT_VARIABLE status)
  if(NOT status STREQUAL 0)
    message(FATAL_ERROR "${block_${n}_page}:${block_${n}_line}: these commands end with ${status}")
  endif()
endforeach()

foreach(file quickstart sizing.svg build/libfanout-dev_${version}_all.deb)
  if(NOT EXISTS ${clone}/${file} AND (gnuplot OR NOT file MATCHES svg))
    message(FATAL_ERROR "The commands of README.md made no ${file}")
  endif()
endforeach()
if(doxygen AND NOT EXISTS ${clone}/build/docs/html/index.html)
  message(FATAL_ERROR "The commands of README.md made no documentation")
endif()

# Each block of cmake is or completes a project around the first program, with the repository where
# the text puts it.
set(preamble "cmake_minimum_required(VERSION 3.20)\nproject(service LANGUAGES CXX)\n\
add_executable(service main.cpp)\n")
set(service)
foreach(n IN LISTS blocks)
  if(block_${n}_language STREQUAL cmake)
    set(service ${scratch}/service_${n})
    if(block_${n} MATCHES "project\\(")
      file(WRITE ${service}/CMakeLists.txt "${block_${n}}")
    else()
      file(WRITE ${service}/CMakeLists.txt "${preamble}${block_${n}}")
    endif()
    configure_file(${clone}/examples/quickstart.cpp ${service}/main.cpp COPYONLY)
    if(block_${n} MATCHES "third_party/fanout")
      file(MAKE_DIRECTORY ${service}/third_party)
      file(CREATE_LINK ${clone} ${service}/third_party/fanout SYMBOLIC)
    endif()
    must_pass(${configure} -S ${service} -B ${service}/build -DCMAKE_PREFIX_PATH=${scratch}/root/usr)
    must_pass(${CMAKE_COMMAND} --build ${service}/build)
    must_pass(${service}/build/service)
  endif()
endforeach()
if(NOT service)
  message(FATAL_ERROR "README.md has no block of cmake")
endif()

# A block of text that is named "PROGRAM prints" is all that it prints; "PROGRAM says", a part.
foreach(n IN LISTS blocks)
  if(NOT block_${n}_name MATCHES "^(.+) (prints|says)$")
    continue()
  endif()
  set(verb ${CMAKE_MATCH_2})
  set(program ${clone}/${CMAKE_MATCH_1})
  if(NOT EXISTS ${program})
    set(program ${examples}/${CMAKE_MATCH_1})
  endif()
  if(NOT EXISTS ${program})
    message("${block_${n}_page}:${block_${n}_line}: unchecked, the examples are not built")
    continue()
  endif()
  must_pass(${program})
  run(${program})
  string(FIND "\n${output}" "\n${block_${n}}" at)
  if(at EQUAL -1 OR (verb STREQUAL prints AND NOT output STREQUAL block_${n}))
    message(FATAL_ERROR "${block_${n}_page}:${block_${n}_line}: the program prints\n${output}")
  endif()
endforeach()
