# Language level and flags shared by everything we compile, as the target foresight_options.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# The kernels raise this to -O3 (ForesightKernels).
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

add_library(foresight_options INTERFACE)

# Results are compared bit for bit across batches, forks and row counts. A compiler that fuses a
# multiply and an add where it likes would round the same expression differently in two places, so
# contraction is off everywhere; kernels that want a fused multiply-add write it. For the same
# reason there is no -ffast-math, and no -march=native: each kernel file states its instruction set.
target_compile_options(foresight_options INTERFACE -ffp-contract=off)

# Designated initialisers leave out what keeps its default: that is no mistake.
target_compile_options(foresight_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(FORESIGHT_WERROR)
  target_compile_options(foresight_options INTERFACE -Werror)
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  set(FORESIGHT_X86 1)
else()
  set(FORESIGHT_X86 0)
endif()
target_compile_definitions(foresight_options INTERFACE FORESIGHT_X86=${FORESIGHT_X86})

if(FORESIGHT_SANITIZE)
  target_compile_options(foresight_options INTERFACE
    -fsanitize=${FORESIGHT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(foresight_options INTERFACE -fsanitize=${FORESIGHT_SANITIZE})
endif()
