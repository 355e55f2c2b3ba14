// Rows of a given context under the attention that the model was trained with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/policy.h"

namespace foresight {

// Rows of tokens [begin, end) of `tokens`, without asks, for a cache that holds tokens [0, begin).
// Masks of semi-causal models take their ranks in order of position.
std::vector<Row> context_rows(const ModelFacts& model, std::span<const Token> tokens,
                              std::int64_t begin, std::int64_t end);

// Where the rows that depend on each other with row `index` begin: the row itself, its block, or
// the whole context.
std::int64_t context_start(const ModelFacts& model, std::int64_t index);

// One past the last of `length` rows that the rows before row `end` depend on.
std::int64_t context_end(const ModelFacts& model, std::int64_t end, std::int64_t length);

}  // namespace foresight
