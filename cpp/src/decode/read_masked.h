// What a branch of the policy "read_masked" is to read, held in its state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/policy.h"

namespace foresight {

struct ReadTask {
  std::vector<std::int32_t> positions;  // masked ones, whose tokens are asked about
  std::vector<Token> targets;           // per position: the token
  // Semi-causal models: every mask of the canvas; each sees those before it.
  std::vector<std::int32_t> order;
  std::int64_t context = 0;  // clean_context() of the canvas
  std::size_t num_read = 0;  // of the positions, in earlier steps
};

// How many of the first tokens of a canvas depend on no mask, and hold no row that reads one of
// `positions`: they can be cached, and shared with canvases that begin alike.
std::int64_t clean_context(const ModelFacts& model, std::span<const Token> canvas,
                           std::span<const std::int32_t> positions);

}  // namespace foresight
