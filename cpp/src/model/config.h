// The typed config of a checkpoint, as Python's checkpoint room read and checked it. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rows/rows.h"

namespace foresight {

// One rotary embedding; a model may have one for its full and one for its sliding layers.
struct RopeConfig {
  std::vector<float> inverse_frequencies;  // [rotary_dim / 2], up to the original length
  float attention_factor = 1.0f;           // scales cos and sin (yarn)
  // Dynamic scaling: beyond original_length the base grows with the length a request may reach.
  bool dynamic = false;
  double theta = 10000.0;
  double factor = 1.0;
  std::int64_t original_length = 0;

  // What a request that may reach `length` positions is scaled for; 0: not scaled by length.
  std::int64_t scaled_length(std::int64_t length) const {
    return dynamic && length > original_length ? length : 0;
  }
};

// Experts in place of the MLP of some layers. A row goes to the experts_per_token ones with the
// highest score (plus bias); with groups, only the top_groups groups whose two best scores sum
// highest are looked at.
struct ExpertsConfig {
  std::int64_t num_experts = 0;  // 0: the model has none
  std::int64_t experts_per_token = 0;
  std::int64_t intermediate_size = 0;         // of one expert
  std::int64_t shared_intermediate_size = 0;  // of the expert of every row; 0: there is none
  bool sigmoid = false;                       // scores; else softmax
  std::int64_t num_groups = 1;
  std::int64_t top_groups = 1;
  bool normalize = false;    // weights are scores divided by their sum
  float scale = 1.0f;        // of the weights
  bool choice_bias = false;  // added to scores for the choice alone
  std::vector<bool> layers;  // [num_layers]: whether a layer has experts
};

struct ModelConfig {
  std::string family;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  float rms_norm_eps = 1e-6f;
  std::string activation = "silu";  // "silu" | "gelu_tanh"
  float embedding_scale = 1.0f;
  float attention_scale = 1.0f;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // q, k and v
  bool output_bias = false;     // o
  bool mlp_bias = false;
  std::int64_t rotary_dim = 0;         // leading dimensions of a head that turn; 0: none
  std::int64_t sliding_window = 0;     // 0: none
  std::vector<bool> layer_is_sliding;  // [num_layers]
  RopeConfig rope_full;
  RopeConfig rope_sliding;
  AttentionKind attention = AttentionKind::causal;
  std::int64_t block_length = 0;   // block_causal; else 0
  bool shifted = true;             // the row at position p predicts position p + 1
  Token mask_token_id = kNoToken;  // kNoToken: none
  // Rows of a table of position embeddings that is added to the tokens'; 0: there is none.
  std::int64_t num_learned_positions = 0;
  ExpertsConfig experts;
  float adapter_scale = 0.0f;  // of the LoRA adapter beside the weights; 0: there is none

  // Throws ValueError naming the field: sizes positive and consistent, lists of the right length.
  void check() const;
};

}  // namespace foresight
