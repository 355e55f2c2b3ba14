// The kernels and threads of one loaded model on the CPU.
#pragma once

#include <optional>

#include "backend/cpu_context.h"

namespace foresight {

class CpuRuntime {
 public:
  // num_threads 0: default_num_threads(); isa: default_isa(). Throws ValueError for an ISA that
  // this processor or build cannot run.
  explicit CpuRuntime(int num_threads = 0, std::optional<Isa> isa = {});

  const CpuContext& context() const { return context_; }

 private:
  KernelRegistry kernels_;
  ThreadPool threads_;
  CpuContext context_;
};

}  // namespace foresight
