// The packed weights of a stack of decoder layers: immutable once made, so that several decoders
// may share them (a model and those that draft for it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "model/blocks/attention_block.h"
#include "model/blocks/mlp_block.h"
#include "model/blocks/moe_block.h"
#include "model/config.h"
#include "model/weights.h"

namespace foresight {

// What tells the families apart; each family's file fills one in.
struct DecoderTraits {
  bool qk_norm = false;      // RMSNorm of each head of q and k before the rotation
  bool post_norms = false;   // norms after attention and MLP too, before the residual sum (Gemma)
  float norm_offset = 0.0f;  // added to every norm weight (Gemma: 1)
};

struct DecoderWeights {
  struct Layer {
    std::vector<float> attn_norm;  // [hidden]
    AttentionBlock attention;
    std::vector<float> post_attn_norm;  // [hidden], or empty
    std::vector<float> mlp_norm;        // [hidden]
    std::variant<MlpBlock, MoeBlock> mlp;
    std::vector<float> post_mlp_norm;  // [hidden], or empty
  };

  // Packs all weights for the kernels of `context`. Throws ValueError naming the tensor.
  DecoderWeights(const CpuContext& context, ModelConfig config, const Weights& weights,
                 const DecoderTraits& traits, DType storage);

  // Of the first `num_layers` layers, the embedding and the head.
  std::size_t packed_bytes(std::int64_t num_layers) const;
  // What rows of hidden states are multiplied with to get logits.
  const ops::PackedMatrix& output_head() const { return head.empty() ? embedding : head; }

  ModelConfig config;
  DecoderTraits traits;
  DType storage;
  ops::PackedMatrix embedding;   // [vocab, hidden]; also the head when tied
  std::vector<float> positions;  // [learned positions, hidden], or empty
  std::vector<Layer> layers;
  std::vector<float> final_norm;  // [hidden]
  ops::PackedMatrix head;         // [vocab, hidden], empty when tied
};

}  // namespace foresight
