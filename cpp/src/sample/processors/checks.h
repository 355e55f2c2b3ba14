// What every processor does with ids and with values outside their range.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "rows/rows.h"
#include "sample/row_math.h"

namespace foresight {

// Throws ValueError: "top_p is 1.5, but must be a number from 0 to 1".
template <typename Value>
void check_range(bool in_range, std::string_view field, const Value& value,
                 std::string_view expected) {
  if (!in_range) throw ValueError(concat(field, " is ", value, ", but must be ", expected));
}

inline void check_token(std::string_view field, Token token, std::int64_t vocab_size) {
  if (token < 0 || token >= vocab_size) {
    throw ValueError(concat(field, " holds token id ", token, ", but must hold ids from 0 to ",
                            vocab_size - 1, " (the vocabulary)"));
  }
}

inline void check_tokens(std::string_view field, std::span<const Token> tokens,
                         std::int64_t vocab_size) {
  for (const Token token : tokens) check_token(field, token, vocab_size);
}

// A model may embed, and be told to end on, more tokens than its head can write; those have no
// score.
inline bool has_score(Token token, std::span<const float> scores) {
  return token >= 0 && static_cast<std::size_t>(token) < scores.size();
}

inline void forbid(std::span<const Token> tokens, std::span<float> scores) {
  for (const Token token : tokens) {
    if (has_score(token, scores)) scores[static_cast<std::size_t>(token)] = kForbidden;
  }
}

}  // namespace foresight
