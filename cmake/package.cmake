# cpack: libfanout-dev, a Debian package. A header is the same for every architecture.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libfanout-dev)
set(CPACK_PACKAGE_CONTACT "The fanout authors" CACHE STRING "Who maintains the package")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "bounded task pool for C++20 in one header")
set(CPACK_PACKAGE_DESCRIPTION
  "A fixed number of workers run tasks from a fixed buffer. A submission never\n\
blocks unless asked to: the pool takes the task or says at once that it is full.\n\
What was accepted runs exactly once, failures are reported with their reason\n\
and place, and closing runs all that was accepted.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6-dev | libc-dev")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "g++ (>= 4:12) | clang (>= 1:14)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake (>= 3.20)")
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package_modes.cmake)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# Debian wants the licence there, and an ordinary install does not.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_PACKAGE_NAME} RENAME copyright
  COMPONENT debian EXCLUDE_FROM_ALL)
set(CPACK_INSTALL_CMAKE_PROJECTS
  "${PROJECT_BINARY_DIR};fanout;ALL;/"
  "${PROJECT_BINARY_DIR};fanout;debian;/")

include(CPack) # last: it writes down what is set
