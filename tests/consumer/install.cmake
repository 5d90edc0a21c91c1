# Installs the library into a scratch prefix, and moves it: a package does not depend on its place.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

must_pass(${configure} -S ${source} -B ${scratch}/build
  -DFANOUT_BUILD_TESTS=OFF -DFANOUT_BUILD_EXAMPLES=OFF -DFANOUT_BUILD_BENCHMARKS=OFF)
must_pass(${CMAKE_COMMAND} --install ${scratch}/build --prefix ${scratch}/prefix)
file(REMOVE_RECURSE ${prefix})
file(RENAME ${scratch}/prefix ${prefix})
