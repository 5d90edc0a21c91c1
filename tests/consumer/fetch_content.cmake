# FetchContent from a git URL, in a library that installs itself, and a project that uses that
# library; and with FIND_PACKAGE_ARGS, which finds the installed package.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

set(upstream ${scratch}/upstream)
copy_work_tree(${upstream})
if(NOT copied)
  return()
endif()
find_program(git git)
set(git ${git} -c user.name=fanout -c user.email=fanout@example.org -c init.defaultBranch=main)
must_pass(${git} init --quiet ${upstream})
must_pass(${git} -C ${upstream} add --all)
must_pass(${git} -C ${upstream} commit --quiet --message upstream)

set(projects ${CMAKE_CURRENT_LIST_DIR}/fetch_content)
must_pass(${configure} -S ${projects}/library -B ${scratch}/library
  -Dfanout_url=file://${upstream} -Dfanout_version=${version}
  -DCMAKE_INSTALL_PREFIX=${scratch}/prefix)
must_pass(${CMAKE_COMMAND} --build ${scratch}/library)
must_pass(${CMAKE_COMMAND} --install ${scratch}/library)
must_pass(${configure} -S ${projects}/user -B ${scratch}/user -DCMAKE_PREFIX_PATH=${scratch}/prefix)
must_pass(${CMAKE_COMMAND} --build ${scratch}/user)

if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.24)
  must_pass(${configure} -S ${projects}/library -B ${scratch}/found
    -Dfanout_url=file:///nowhere -Dfanout_version=${version} -DCMAKE_PREFIX_PATH=${prefix})
  must_pass(${CMAKE_COMMAND} --build ${scratch}/found)
endif()
