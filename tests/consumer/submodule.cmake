# The same for a clone with a git submodule: nothing that the library needs is ignored or generated.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

# The work tree in a repository of its own.
set(upstream ${scratch}/upstream)
copy_work_tree(${upstream})
if(NOT copied)
  return()
endif()
find_program(git git)
set(git ${git} -c user.name=fanout -c user.email=fanout@example.org -c init.defaultBranch=main
  -c protocol.file.allow=always -c safe.directory=*)
must_pass(${git} init --quiet ${upstream})
must_pass(${git} -C ${upstream} add --all)
must_pass(${git} -C ${upstream} commit --quiet --message upstream)

# A project with the submodule, and a fresh clone of that project.
set(project ${scratch}/project)
file(COPY ${CMAKE_CURRENT_LIST_DIR}/add_subdirectory DESTINATION ${project})
file(GLOB programs ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
file(COPY ${programs} DESTINATION ${project})
must_pass(${git} init --quiet ${project})
must_pass(${git} -C ${project} submodule --quiet add ${upstream} third_party/fanout)
must_pass(${git} -C ${project} add --all)
must_pass(${git} -C ${project} commit --quiet --message project)
must_pass(${git} clone --quiet --recurse-submodules ${project} ${scratch}/clone)

must_pass(${configure} -S ${scratch}/clone/add_subdirectory -B ${scratch}/build
  -Dfanout_tree=${scratch}/clone/third_party/fanout)
must_pass(${CMAKE_COMMAND} --build ${scratch}/build)
must_pass(${git} -C ${scratch}/clone/third_party/fanout diff --exit-code)
