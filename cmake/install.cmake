# The header, and a package that find_package(fanout) finds.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/fanout)

# INCLUDES DESTINATION serves consumers whose CMake is too old for file sets.
if(CMAKE_VERSION VERSION_LESS 3.23)
  install(TARGETS fanout EXPORT fanout-targets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(FILES ${fanout_header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fanout)
else()
  install(TARGETS fanout EXPORT fanout-targets
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
install(EXPORT fanout-targets NAMESPACE fanout:: DESTINATION ${package_dir})

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/fanout-config.cmake.in
  ${PROJECT_BINARY_DIR}/fanout-config.cmake
  INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO)
# While the major version is 0, each minor version may break its users.
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/fanout-config-version.cmake
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
# For pkg-config and what asks it, as Meson does. Its prefix is where the file lies.
file(RELATIVE_PATH fanout_pc_prefix /${CMAKE_INSTALL_DATADIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/fanout.pc.in ${PROJECT_BINARY_DIR}/fanout.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/fanout.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/gdb/fanout.py DESTINATION ${CMAKE_INSTALL_DATADIR}/fanout/gdb)
install(
  FILES ${PROJECT_BINARY_DIR}/fanout-config.cmake ${PROJECT_BINARY_DIR}/fanout-config-version.cmake
  DESTINATION ${package_dir})
