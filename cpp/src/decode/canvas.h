// What strategies with a canvas share: which positions are masked, windows of positions, random
// orders, and the rules that choose among proposed tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/policy.h"

namespace foresight {

// Half-open range of positions.
struct Window {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Masked positions of [window.begin, window.end), ascending.
std::vector<std::int32_t> masked_positions(const BranchView& view, Window window);

// One past the last position before which nothing is masked.
std::int64_t final_length_after(const BranchView& view, std::span<const CanvasEdit> edits);

// `positions` in a random order that depends on (key, step) alone, whatever their order was.
std::vector<std::int32_t> random_order(const RngKey& key, std::uint32_t step,
                                       std::vector<std::int32_t> positions);

// A uniform number of (key, position, step) that no token's draw uses.
double order_uniform(const RngKey& key, std::int32_t position, std::uint32_t step);

// A position with the token that its row proposes, and how sure the row is.
struct Proposal {
  std::int32_t position = 0;
  std::int32_t answer = 0;  // index of its readout among the asking rows
  double confidence = 0.0;
};

// Surest first; equals by position.
void sort_by_confidence(std::vector<Proposal>& proposals);
// confidence / temperature plus Gumbel noise: taking the best k of these draws k positions without
// replacement from softmax(confidence / temperature).
void perturb(std::vector<Proposal>& proposals, double temperature, const RngKey& key,
             std::uint32_t step);

// How many of the sorted proposals a rule commits, at least one.
// threshold (Fast-dLLM, Wu et al. 2025): those with confidence >= threshold.
std::size_t count_by_threshold(std::span<const Proposal> sorted, double threshold);
// factor (the same): ranks r = 1, 2, ... while confidence >= 1 - factor / (r + 1). `quirk`: the
// published code takes one more where the rank that fails is the last.
std::size_t count_by_factor(std::span<const Proposal> sorted, double factor, bool quirk);

}  // namespace foresight
