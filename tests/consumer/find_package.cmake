# A project that finds the installed package builds and runs.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

must_pass(${configure} -S ${CMAKE_CURRENT_LIST_DIR}/find_package -B ${scratch}
  -DCMAKE_PREFIX_PATH=${prefix} -Drequest=${version})
must_pass(${CMAKE_COMMAND} --build ${scratch})
