// Qwen3 (Yang et al., 2025): Llama's blocks with an RMSNorm on every head of q and k.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_qwen3(const CpuContext& context, const ModelConfig& config,
                                      const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(context, config, weights, DecoderTraits{.qk_norm = true},
                                   storage);
}

}  // namespace foresight
