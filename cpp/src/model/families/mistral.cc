// Mistral 7B (Jiang et al., 2023): Llama's blocks with an optional sliding window on every layer.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_mistral(const CpuContext& context, const ModelConfig& config,
                                        const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(context, config, weights, DecoderTraits{}, storage);
}

}  // namespace foresight
