#include "ops/rmsnorm.h"

#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

// Sum of squares: two vectors of partial sums, taken in turn, then added lane by lane.
FORESIGHT_INLINE float sum_of_squares(const float* x, std::int64_t size) {
  Vec even = zero();
  Vec odd = zero();
  std::int64_t i = 0;
  for (; i + 2 * kWidth <= size; i += 2 * kWidth) {
    const Vec a = load(F32{}, x + i);
    const Vec b = load(F32{}, x + i + kWidth);
    even = fma(a, a, even);
    odd = fma(b, b, odd);
  }
  for (; i < size; i += kWidth) {
    const Vec a = load_n(F32{}, x + i, size - i < kWidth ? size - i : kWidth);
    even = fma(a, a, even);
  }
  return sum(add(even, odd));
}

void rmsnorm(const RmsNormArgs& args, std::int64_t row_begin, std::int64_t row_end) {
  for (std::int64_t m = row_begin; m < row_end; ++m) {
    for (std::int64_t g = 0; g < args.num_groups; ++g) {
      const float* x = args.x + m * args.x_stride + g * args.size;
      float* out = args.out + m * args.out_stride + g * args.size;
      const Vec mean = set1(sum_of_squares(x, args.size) / static_cast<float>(args.size));
      const Vec scale = div(set1(1.0f), sqrt(add(mean, set1(args.eps))));
      std::int64_t i = 0;
      for (; i + kWidth <= args.size; i += kWidth) {
        store(F32{}, out + i, mul(mul(load(F32{}, x + i), scale), load(F32{}, args.weight + i)));
      }
      if (i < args.size) {
        const std::int64_t n = args.size - i;
        store_n(F32{}, out + i,
                mul(mul(load_n(F32{}, x + i, n), scale), load_n(F32{}, args.weight + i, n)), n);
      }
    }
  }
}

}  // namespace

void register_rmsnorm(KernelRegistry& registry) {
  registry.add<RmsNormKernel>(Isa(FORESIGHT_ISA_LEVEL), &rmsnorm);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
