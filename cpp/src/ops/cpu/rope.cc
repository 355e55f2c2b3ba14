#include "ops/rope.h"

#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

// n lanes of one head: low[i] and high[i] = low[i + rotary_dim / 2] are turned by the angle i.
FORESIGHT_INLINE void rotate(float* low, float* high, const float* cos, const float* sin,
                             std::int64_t n) {
  const Vec a = load_n(F32{}, low, n);
  const Vec b = load_n(F32{}, high, n);
  const Vec c = load_n(F32{}, cos, n);
  const Vec s = load_n(F32{}, sin, n);
  store_n(F32{}, low, sub_fma(b, s, mul(a, c)), n);
  store_n(F32{}, high, fma(a, s, mul(b, c)), n);
}

void rope(const RopeArgs& args, std::int64_t row_begin, std::int64_t row_end) {
  const std::int64_t half = args.rotary_dim / 2;
  for (std::int64_t m = row_begin; m < row_end; ++m) {
    const float* cos = args.cos + m * half;
    const float* sin = args.sin + m * half;
    for (std::int64_t h = 0; h < args.num_heads; ++h) {
      float* x = args.x + m * args.x_stride + h * args.head_dim;
      for (std::int64_t d = 0; d < half; d += kWidth) {
        rotate(x + d, x + half + d, cos + d, sin + d, half - d < kWidth ? half - d : kWidth);
      }
    }
  }
}

}  // namespace

void register_rope(KernelRegistry& registry) {
  registry.add<RopeKernel>(Isa(FORESIGHT_ISA_LEVEL), &rope);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
