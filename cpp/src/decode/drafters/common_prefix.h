// How far two runs of tokens agree.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "rows/rows.h"

namespace foresight {

inline std::size_t common_prefix(std::span<const Token> a, std::span<const Token> b) {
  const std::size_t most = std::min(a.size(), b.size());
  // Mostly they agree, which the library finds out many tokens at a time.
  if (std::ranges::equal(a.first(most), b.first(most))) return most;
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace foresight
