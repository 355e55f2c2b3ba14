// LLaDA 2.0 and 2.1 (inclusionAI, 2025), on Ling's blocks: norms of q and k, half of each head
// turning, a few dense layers first, then sigmoid-routed experts in groups beside a shared one.
#include "model/blocks/decoder.h"
#include "model/families/families.h"

namespace foresight {

std::unique_ptr<ModelPort> make_llada2(const CpuContext& context, const ModelConfig& config,
                                       const Weights& weights, DType storage) {
  return std::make_unique<Decoder>(context, config, weights, DecoderTraits{.qk_norm = true},
                                   storage);
}

}  // namespace foresight
