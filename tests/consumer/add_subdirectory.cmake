# A project that vendors the source tree builds and runs, and gets nothing that it did not ask for.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

must_pass(${configure} -S ${CMAKE_CURRENT_LIST_DIR}/add_subdirectory -B ${scratch}
  -Dfanout_tree=${source})
must_pass(${CMAKE_COMMAND} --build ${scratch})
