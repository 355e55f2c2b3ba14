# Benchmarks of single ops: build/<preset>/ops_bench, run by hand.

option(FORESIGHT_BENCHMARKS "Build the C++ benchmarks" OFF)

if(FORESIGHT_BENCHMARKS)
  add_executable(ops_bench "${PROJECT_SOURCE_DIR}/benchmarks/cpp/ops_bench.cc")
  target_link_libraries(ops_bench PRIVATE foresight_core_whole foresight_options)
  set_target_properties(ops_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
endif()
