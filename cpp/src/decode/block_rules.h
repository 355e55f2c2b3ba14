// Which of the tokens that a window of a block proposes are written in one forward.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "decode/canvas.h"

namespace foresight {

// How many masks forward `step` of a window of `length` positions writes at least: its share of
// `steps` forwards, the remainder first.
std::size_t window_quota(std::int64_t length, std::int64_t steps, std::int64_t step);

// Of proposals sorted surest first: those with confidence > threshold if they are at least `floor`
// (SDAR, Cheng et al. 2025; LLaDA2.x), else the `floor` best.
std::size_t count_above(std::span<const Proposal> sorted, double threshold, std::size_t floor);

// Of proposals sorted by rising entropy (confidence is minus the entropy): as many as keep their
// sum of entropies, the largest left out, within `bound` (Ben-Hamu et al. 2025, arXiv 2505.24857).
std::size_t count_within_entropy(std::span<const Proposal> sorted, double bound, std::size_t floor);

// The `count` best as torch.topk lists them on a CPU: which of equals it takes is part of what a
// published sampler does.
std::vector<std::size_t> top_as_torch(std::span<const double> values, std::size_t count);

}  // namespace foresight
