# cmake --toolchain cmake/aarch64.cmake ...: 64-bit ARM, whose programs qemu runs.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc) # GoogleTest asks for one
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static) # qemu needs no libraries then
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
