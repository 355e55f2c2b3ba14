// What every CPU op receives: which kernels to call and which threads to use. Explicit, no globals.
#pragma once

#include <memory>

#include "backend/isa.h"
#include "backend/kernel_registry.h"
#include "core/thread_pool.h"

namespace foresight {

struct CpuContext {
  const KernelRegistry* kernels = nullptr;
  ThreadPool* threads = nullptr;
  Isa isa = Isa::generic;

  template <typename Op>
  typename Op::Signature* kernel() const {
    return kernels->get<Op>(isa);
  }
};

}  // namespace foresight
