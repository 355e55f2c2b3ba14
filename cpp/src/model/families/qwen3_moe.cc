// Qwen3-MoE (Yang et al., 2025), as SDAR's 30B-A3B uses it: Qwen3's attention, softmax-routed
// experts in place of the MLP.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_qwen3_moe(const CpuContext& context, const ModelConfig& config,
                                          const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(context, config, weights, DecoderTraits{.qk_norm = true},
                                   storage);
}

}  // namespace foresight
