// Fills a registry with every CPU variant of this build.
#pragma once

#include "backend/kernel_registry.h"

namespace foresight::ops {

void register_cpu_kernels(KernelRegistry& registry);

}  // namespace foresight::ops
