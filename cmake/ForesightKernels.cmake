# cpp/src/ops/cpu/*.cc is compiled once per instruction set. Each variant lives in its own namespace,
# FORESIGHT_ISA_NS, and may use what FORESIGHT_ISA_LEVEL (0 generic, 1 avx2, 2 avx512, 3 avx512_bf16,
# as in backend/isa.h) allows. Which variant runs is decided at run time, by what the processor has.

set(avx2_flags -mavx2 -mfma -mf16c)
set(avx512_flags ${avx2_flags} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
set(avx512_bf16_flags ${avx512_flags} -mavx512bf16)

function(foresight_add_cpu_kernels core)
  file(GLOB kernel_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cpp/src/ops/cpu/*.cc")

  set(isas generic)
  if(FORESIGHT_X86)
    list(APPEND isas avx2 avx512 avx512_bf16)
  endif()

  set(level 0)
  foreach(isa IN LISTS isas)
    set(library foresight_cpu_${isa})
    add_library(${library} OBJECT ${kernel_sources})
    target_include_directories(${library} PRIVATE "${PROJECT_SOURCE_DIR}/cpp/src")
    target_compile_definitions(${library} PRIVATE FORESIGHT_ISA_NS=${isa} FORESIGHT_ISA_LEVEL=${level})
    target_compile_options(${library} PRIVATE ${${isa}_flags} $<$<CONFIG:Release>:-O3>)
    target_link_libraries(${library} PRIVATE foresight_options)
    if(isa MATCHES "avx512" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
      # GCC 12's own intrinsics headers trip these two warnings (GCC bug 105593).
      target_compile_options(${library} PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
    endif()
    target_sources(${core} PRIVATE $<TARGET_OBJECTS:${library}>)
    math(EXPR level "${level} + 1")
  endforeach()
endfunction()
