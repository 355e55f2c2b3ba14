// The elementwise part of a gated MLP: out[m, i] = act(x[m, i]) * x[m, size + i].
// silu(v) = v / (1 + exp(-v)) (SwiGLU); gelu_tanh is the tanh approximation (GeGLU, Gemma).
#pragma once

#include <cstdint>

#include "backend/cpu_context.h"

namespace foresight::ops {

enum class Activation : std::uint8_t { silu, gelu_tanh };

struct GatedMlpArgs {
  const float* gate_up = nullptr;  // [M, 2 * size]: gates, then ups; row stride gate_up_stride
  std::int64_t gate_up_stride = 0;
  std::int64_t num_rows = 0;  // M
  std::int64_t size = 0;      // intermediate size
  Activation activation = Activation::silu;
  float* out = nullptr;  // [M, size], row stride out_stride
  std::int64_t out_stride = 0;
};

struct GatedMlpKernel {
  static constexpr const char* kName = "gated_mlp";
  using Signature = void(const GatedMlpArgs& args, std::int64_t row_begin, std::int64_t row_end);
};

void gated_mlp(const CpuContext& context, const GatedMlpArgs& args);

}  // namespace foresight::ops
