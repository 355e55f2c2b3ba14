// Qwen2 and Qwen2.5 (Yang et al., 2024): Llama's blocks with biases on q, k and v, optionally a
// sliding window on the upper layers.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_qwen2(const CpuContext& context, const ModelConfig& config,
                                      const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(context, config, weights, DecoderTraits{}, storage);
}

}  // namespace foresight
