// Rotary position embedding, rotate-half form (Su et al., 2021, as in GPT-NeoX and Llama): for
// d < R/2, (x[d], x[d + R/2]) is rotated by the angle of (position, d), R being the head's leading
// dimensions that turn; the others stay. Positions are data: row m takes its cos and sin from row m
// of gathered tables.
#pragma once

#include <cstdint>

#include "backend/cpu_context.h"

namespace foresight::ops {

struct RopeArgs {
  float* x = nullptr;         // [M, num_heads, head_dim] in place, row stride x_stride
  std::int64_t x_stride = 0;  // elements
  std::int64_t num_rows = 0;  // M
  std::int64_t num_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;  // R: even, at most head_dim; 0: nothing turns
  const float* cos = nullptr;   // [M, rotary_dim / 2]
  const float* sin = nullptr;   // [M, rotary_dim / 2]
};

struct RopeKernel {
  static constexpr const char* kName = "rope";
  using Signature = void(const RopeArgs& args, std::int64_t row_begin, std::int64_t row_end);
};

void rope(const CpuContext& context, const RopeArgs& args);

}  // namespace foresight::ops
