# cpack makes a Debian package that says what it is and holds what it should; unpacked into a root of
# its own, find_package finds it there.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

find_program(dpkg_deb dpkg-deb)
if(NOT dpkg_deb)
  message("SKIPPED: no dpkg-deb here")
  return()
endif()

must_pass(${configure} -S ${source} -B ${scratch}/build
  -DFANOUT_BUILD_TESTS=OFF -DFANOUT_BUILD_EXAMPLES=OFF -DFANOUT_BUILD_BENCHMARKS=OFF)
# A builder's umask does not decide who can read the package.
must_pass(sh -c "umask 077 && exec \"$@\"" sh
  ${CMAKE_CPACK_COMMAND} --config ${scratch}/build/CPackConfig.cmake -B ${scratch})
set(deb ${scratch}/libfanout-dev_${version}_all.deb)

# demand(WHAT FOUND EXPECTED)
function(demand what found expected)
  if(NOT found STREQUAL expected)
    message(FATAL_ERROR "${what}: found\n${found}\nexpected\n${expected}")
  endif()
endfunction()

foreach(field
    Package=libfanout-dev Version=${version} Architecture=all Section=libdevel Priority=optional
    "Depends=libc6-dev | libc-dev" "Recommends=g++ (>= 4:12) | clang (>= 1:14)")
  string(REGEX MATCH "^([^=]+)=(.*)$" field "${field}")
  run(${dpkg_deb} --field ${deb} ${CMAKE_MATCH_1})
  demand(${CMAKE_MATCH_1} "${output}" "${CMAKE_MATCH_2}\n")
endforeach()
run(${dpkg_deb} --field ${deb} Description)
if(NOT output MATCHES "^bounded task pool[^\n]+\n [^\n]+\n")
  message(FATAL_ERROR "no summary and long description:\n${output}")
endif()

# Mode, owner and name, without size and date.
run(${dpkg_deb} --contents ${deb})
string(REGEX REPLACE " +[0-9]+ [0-9]+-[0-9]+-[0-9]+ [0-9:]+ " " " found "${output}")
demand(contents "${found}" "\
drwxr-xr-x root/root ./usr/
drwxr-xr-x root/root ./usr/include/
drwxr-xr-x root/root ./usr/include/fanout/
-rw-r--r-- root/root ./usr/include/fanout/fanout.hpp
drwxr-xr-x root/root ./usr/share/
drwxr-xr-x root/root ./usr/share/cmake/
drwxr-xr-x root/root ./usr/share/cmake/fanout/
-rw-r--r-- root/root ./usr/share/cmake/fanout/fanout-config-version.cmake
-rw-r--r-- root/root ./usr/share/cmake/fanout/fanout-config.cmake
-rw-r--r-- root/root ./usr/share/cmake/fanout/fanout-targets.cmake
drwxr-xr-x root/root ./usr/share/doc/
drwxr-xr-x root/root ./usr/share/doc/libfanout-dev/
-rw-r--r-- root/root ./usr/share/doc/libfanout-dev/copyright
drwxr-xr-x root/root ./usr/share/fanout/
drwxr-xr-x root/root ./usr/share/fanout/gdb/
-rw-r--r-- root/root ./usr/share/fanout/gdb/fanout.py
drwxr-xr-x root/root ./usr/share/pkgconfig/
-rw-r--r-- root/root ./usr/share/pkgconfig/fanout.pc
")

set(root ${scratch}/root)
must_pass(${dpkg_deb} --extract ${deb} ${root})
must_pass(${CMAKE_COMMAND} -E compare_files
  ${source}/include/fanout/fanout.hpp ${root}/usr/include/fanout/fanout.hpp)
must_pass(${CMAKE_COMMAND} -E compare_files
  ${source}/LICENSE ${root}/usr/share/doc/libfanout-dev/copyright)

must_pass(${configure} -S ${CMAKE_CURRENT_LIST_DIR}/find_package -B ${scratch}/consumer
  -DCMAKE_PREFIX_PATH=${root}/usr -Drequest=${version})
must_pass(${CMAKE_COMMAND} --build ${scratch}/consumer)
file(STRINGS ${scratch}/consumer/CMakeCache.txt found REGEX "^fanout_DIR:")
demand("the package" "${found}" "fanout_DIR:PATH=${root}/usr/share/cmake/fanout")
