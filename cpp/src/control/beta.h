// The test that a leading answer leads in the long run (Adaptive-Consistency, 2305.11860).
#pragma once

#include <cstdint>
#include <span>

#include "control/branches.h"

namespace foresight {

// P(p > 1/2) for p ~ Beta(a + 1, b + 1): how sure it is that the first of two answers is the more
// frequent one, after a and b draws of them and with any share equally likely before. a, b >= 0.
double beta_above_half(std::int64_t a, std::int64_t b);

// That of the two heaviest of votes that count 1 each; 1/2 without votes.
double lead_confidence(std::span<const Vote> votes);

}  // namespace foresight
