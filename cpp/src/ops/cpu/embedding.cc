#include "ops/embedding.h"

#include "ops/cpu/vec.h"
#include "ops/packed_matrix.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

template <typename Storage>
void gather(const EmbeddingRows& args) {
  using Element = typename Storage::Element;
  constexpr std::int64_t kUnit = Storage::kPaired ? 2 : 1;  // consecutive inputs that lie together
  for (std::int64_t m = 0; m < args.num_rows; ++m) {
    const std::int64_t token = args.tokens[m];
    const Element* column = static_cast<const Element*>(args.panels) +
                            token / kPanelColumns * args.panel_elements +
                            token % kPanelColumns * kUnit;
    float* out = args.out + m * args.out_stride;
    for (std::int64_t k = 0; k < args.num_inputs; k += kWidth) {
      const std::int64_t n = args.num_inputs - k < kWidth ? args.num_inputs - k : kWidth;
      Element lanes[kWidth] = {};
      for (std::int64_t i = 0; i < n; ++i) {
        lanes[i] = column[(k + i) / kUnit * (kPanelColumns * kUnit) + (k + i) % kUnit];
      }
      store_n(F32{}, out + k, mul(load(Storage{}, lanes), set1(args.scale)), n);
    }
  }
}

void embedding(const EmbeddingRows& args) {
  switch (args.dtype) {
    case DType::f32:
      gather<F32>(args);
      break;
    case DType::bf16:
      gather<Bf16>(args);
      break;
    case DType::f16:
      gather<F16>(args);
      break;
  }
}

}  // namespace

void register_embedding(KernelRegistry& registry) {
  registry.add<EmbeddingKernel>(Isa(FORESIGHT_ISA_LEVEL), &embedding);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
