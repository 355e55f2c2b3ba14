// The typed config of a draft head, as Python's checkpoint room read and checked it. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace foresight {

enum class HeadKind : std::uint8_t {
  eagle3,  // Li et al., arXiv 2503.01840
  mtp,     // DeepSeek-AI, arXiv 2412.19437
  dflash,  // arXiv 2602.06036; with a Markov head: DSpark (arXiv 2607.05147)
};

enum class MarkovKind : std::uint8_t { none, vanilla, gated, rnn };

struct HeadConfig {
  HeadKind kind = HeadKind::eagle3;
  // Of its own layers; vocab_size: of its output, which may be a part of the target's.
  ModelConfig model;
  bool qk_norm = false;
  float norm_offset = 0.0f;                 // added to every norm weight
  std::vector<std::int32_t> target_layers;  // ForwardBatch::hidden_layers that it looks at
  std::int64_t target_hidden_size = 0;
  std::int64_t target_vocab_size = 0;

  // eagle3
  bool norm_before_residual = false;  // the residual stream begins with the normed feature
  bool norm_before_fc = false;        // target states are normed, all layers as one vector
  // mtp: the projection takes the feature before the embedding.
  bool feature_first = false;
  // dflash
  std::int64_t block_length = 0;  // rows of a block: the last token, then masks
  Token mask_token = kNoToken;
  bool predicts_next = false;  // row i speaks for the position behind it (DSpark), else for its own
  std::vector<bool> causal;    // [num_layers]: rows of a block see only those before them
  MarkovKind markov = MarkovKind::none;
  std::int64_t markov_rank = 0;

  // Throws ValueError naming the field and both sides.
  void check() const;
};

}  // namespace foresight
