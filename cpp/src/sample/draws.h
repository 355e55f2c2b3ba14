// The numbers of a position's draws, so that a guess, its test and what stands in for it are
// independent, and so are those of every further guess at the position.
#pragma once

#include <cstdint>

namespace foresight {

inline constexpr std::uint32_t kPlainDraw = 0;  // of a token that is not guessed
inline constexpr std::uint32_t kDraftDraw = 1;
inline constexpr std::uint32_t kAcceptDraw = 2;
inline constexpr std::uint32_t kResidualDraw = 3;

// Ask::draw of guess number `index`, from 1, that a branch tests in one step. Every step commits a
// token, so position and index name the step: no number is ever used for two tests.
inline std::uint32_t draft_draw(std::int64_t index) {
  return 4 * static_cast<std::uint32_t>(index);
}

}  // namespace foresight
