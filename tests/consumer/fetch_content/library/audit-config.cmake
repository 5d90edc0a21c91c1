include(CMakeFindDependencyMacro)
find_dependency(fanout)
include(${CMAKE_CURRENT_LIST_DIR}/audit-targets.cmake)
