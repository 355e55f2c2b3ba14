// The packed weights of a draft head: immutable once made, and shared by all that draft with it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "model/blocks/attention_block.h"
#include "model/blocks/mlp_block.h"
#include "model/heads/head_config.h"
#include "model/heads/markov_head.h"
#include "model/port.h"
#include "model/weights.h"

namespace foresight {

// Canonical names: embed, lm_head (absent: the target's), fc, input_norm, embed_norm,
// feature_norm, final_norm, layers.{i}.{attn_norm, mlp_norm and the names of AttentionBlock and
// MlpBlock}, and those of MarkovHead. The first layer of an EAGLE-3 head has no attn_norm.
struct HeadWeights {
  struct Layer {
    std::vector<float> attn_norm;  // [hidden], or empty
    AttentionBlock attention;
    std::vector<float> mlp_norm;  // [hidden]
    MlpBlock mlp;
  };

  // Packs all weights for the kernels of `context`, those of the target. Throws ValueError naming
  // the tensor.
  HeadWeights(const CpuContext& context, HeadConfig config, const Weights& weights,
              const TokenMatrices& target, DType storage);

  std::size_t packed_bytes() const;  // without what is the target's

  HeadConfig config;
  DType storage;
  std::shared_ptr<const ops::PackedMatrix> embedding;  // [target vocab, hidden]
  std::shared_ptr<const ops::PackedMatrix> output;     // [vocab, hidden]
  Linear fc;  // mtp: of [embedding, feature]; else of the target's states, side by side
  std::vector<float> input_norm;    // of the target's states, or empty
  std::vector<float> embed_norm;    // [hidden]; eagle3, mtp
  std::vector<float> feature_norm;  // [hidden]
  std::vector<Layer> layers;
  std::vector<float> final_norm;  // [hidden]
  MarkovHead markov;

 private:
  std::size_t own_bytes_ = 0;
};

}  // namespace foresight
