// Row-wise reductions over logits: each reads one row of [rows, vocab] and gives a few numbers.
// NaN logits never win an argmax (a row of NaN alone gives index 0); sums run in a fixed lane
// order.
#pragma once

#include <cstdint>

#include "backend/cpu_context.h"

namespace foresight::ops {

struct MaxEntry {
  float value = 0.0f;
  std::int64_t index = 0;  // the lowest one on ties
};

struct ArgmaxKernel {
  static constexpr const char* kName = "argmax";
  using Signature = MaxEntry(const float* row, std::int64_t size);
};

// sum_i exp(row[i] - shift); with `out` not null also out[i] = exp(row[i] - shift) (out may be
// row).
struct ExpSumKernel {
  static constexpr const char* kName = "exp_sum";
  using Signature = double(const float* row, std::int64_t size, float shift, float* out);
};

inline MaxEntry argmax(const CpuContext& context, const float* row, std::int64_t size) {
  return context.kernel<ArgmaxKernel>()(row, size);
}
inline double exp_sum(const CpuContext& context, const float* row, std::int64_t size, float shift,
                      float* out = nullptr) {
  return context.kernel<ExpSumKernel>()(row, size, shift, out);
}

}  // namespace foresight::ops
