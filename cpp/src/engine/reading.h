// Probabilities of given tokens: those of sequences by the chain rule, and those at the masks of
// canvases.
#pragma once

#include <cstdint>
#include <vector>

#include "core/function_ref.h"
#include "engine/engine.h"

namespace foresight {

struct ScoredToken {
  float logprob = 0.0f;  // of the token, in nats
  bool is_argmax = false;
  float max_prob = 0.0f;  // of the most probable token
};
using ScoredTokens = std::vector<std::vector<ScoredToken>>;

// Each token from `start` on given those before it.
ScoredTokens score(Engine& engine, const std::vector<std::vector<Token>>& sequences,
                   const std::vector<std::int64_t>& starts, FunctionRef<void()> poll);

// A canvas, and which tokens are asked about at which of its masks.
struct MaskedRead {
  std::vector<Token> canvas;
  std::vector<std::int32_t> positions;
  std::vector<Token> targets;  // per position
  // Semi-causal models: all masked positions, each of which sees those before it; empty: by
  // position. Other models: empty.
  std::vector<std::int32_t> order;
};

// Per canvas the answers in the order of its positions. Canvases share forwards, and what comes
// before their first masked block where they begin alike. Throws ValueError (a model without a mask
// token, positions that are not masked, an order that is not one of the masks) before any work.
ScoredTokens read_masked(Engine& engine, std::vector<MaskedRead> reads, FunctionRef<void()> poll);

}  // namespace foresight
