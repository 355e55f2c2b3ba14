#include "ops/gated_mlp.h"

#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

// v * logistic(t)
FORESIGHT_INLINE Vec times_logistic(Vec v, Vec t) {
  return div(v, add(set1(1.0f), exp(sub(zero(), t))));
}

struct Silu {
  FORESIGHT_INLINE static Vec apply(Vec v) { return times_logistic(v, v); }
};

// v/2 (1 + tanh(u)) = v logistic(2u) with u = sqrt(2 / pi) (v + 0.044715 v^3).
struct GeluTanh {
  FORESIGHT_INLINE static Vec apply(Vec v) {
    const Vec cube = mul(mul(v, v), v);
    return times_logistic(v, mul(set1(1.5957691216057308f), fma(set1(0.044715f), cube, v)));
  }
};

template <typename Function>
void gate_rows(const GatedMlpArgs& args, std::int64_t row_begin, std::int64_t row_end) {
  for (std::int64_t m = row_begin; m < row_end; ++m) {
    const float* gate = args.gate_up + m * args.gate_up_stride;
    const float* up = gate + args.size;
    float* out = args.out + m * args.out_stride;
    for (std::int64_t i = 0; i < args.size; i += kWidth) {
      const std::int64_t n = args.size - i < kWidth ? args.size - i : kWidth;
      store_n(F32{}, out + i,
              mul(Function::apply(load_n(F32{}, gate + i, n)), load_n(F32{}, up + i, n)), n);
    }
  }
}

void gated_mlp(const GatedMlpArgs& args, std::int64_t row_begin, std::int64_t row_end) {
  switch (args.activation) {
    case Activation::silu:
      gate_rows<Silu>(args, row_begin, row_end);
      break;
    case Activation::gelu_tanh:
      gate_rows<GeluTanh>(args, row_begin, row_end);
      break;
  }
}

}  // namespace

void register_gated_mlp(KernelRegistry& registry) {
  registry.add<GatedMlpKernel>(Isa(FORESIGHT_ISA_LEVEL), &gated_mlp);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
