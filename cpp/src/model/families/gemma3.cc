// Gemma 3, text part (Gemma Team, 2025): norms before and after each block with weight 1 + w, q/k
// norms, GeGLU, scaled embeddings, five sliding layers to one full layer with their own rotary
// bases.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_gemma3(const CpuContext& context, const ModelConfig& config,
                                       const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(
      context, config, weights,
      DecoderTraits{.qk_norm = true, .post_norms = true, .norm_offset = 1.0f}, storage);
}

}  // namespace foresight
