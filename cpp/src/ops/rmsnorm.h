// RMSNorm (Zhang and Sennrich, 2019): out[m, h] = x[m, h] / sqrt(mean_h x^2 + eps) * weight[h].
// Gemma's (1 + w) is folded into `weight` at load. Sums run in float32 in a fixed lane order that
// does not depend on M.
#pragma once

#include <cstdint>

#include "backend/cpu_context.h"

namespace foresight::ops {

struct RmsNormArgs {
  const float* x = nullptr;   // [M, num_groups * size], row stride x_stride
  std::int64_t x_stride = 0;  // elements
  std::int64_t num_rows = 0;  // M
  std::int64_t size = 0;
  std::int64_t num_groups = 1;    // consecutive vectors of `size` in a row, each normalised alone
                                  // with the same weight (norms of q and k heads)
  const float* weight = nullptr;  // [size]
  float eps = 1e-6f;
  float* out = nullptr;  // as x; may be x itself
  std::int64_t out_stride = 0;
};

struct RmsNormKernel {
  static constexpr const char* kName = "rmsnorm";
  using Signature = void(const RmsNormArgs& args, std::int64_t row_begin, std::int64_t row_end);
};

void rmsnorm(const CpuContext& context, const RmsNormArgs& args);

}  // namespace foresight::ops
