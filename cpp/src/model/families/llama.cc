// Llama 2, 3, 3.1 and later (Touvron et al., 2023; Grattafiori et al., 2024): pre-norm, grouped
// heads, SwiGLU; rope scaling and biases as the config says.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_llama(const CpuContext& context, const ModelConfig& config,
                                      const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(context, config, weights, DecoderTraits{}, storage);
}

}  // namespace foresight
