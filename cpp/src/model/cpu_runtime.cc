#include "model/cpu_runtime.h"

#include <algorithm>

#include "core/error.h"
#include "ops/cpu_kernels.h"

namespace foresight {

CpuRuntime::CpuRuntime(int num_threads, std::optional<Isa> isa) : threads_(num_threads) {
  ops::register_cpu_kernels(kernels_);
  const Isa chosen = isa.value_or(default_isa());
  const std::vector<Isa> supported = supported_isas();
  if (std::find(supported.begin(), supported.end(), chosen) == supported.end()) {
    throw ValueError(concat("this processor or build cannot run ISA '", name_of(chosen), "'"));
  }
  context_ = {.kernels = &kernels_, .threads = &threads_, .isa = chosen};
}

}  // namespace foresight
