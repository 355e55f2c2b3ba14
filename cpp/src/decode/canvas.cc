#include "decode/canvas.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace foresight {

namespace {

// Tells the draws of orders from those of tokens.
constexpr std::uint64_t kOrderStream = 0x6f72646572u;

RngKey order_key(const RngKey& key) {
  return {.seed = key.seed, .branch = mix64(key.branch, kOrderStream)};
}

}  // namespace

std::vector<std::int32_t> masked_positions(const BranchView& view, Window window) {
  std::vector<std::int32_t> positions;
  for (std::int64_t i = window.begin; i < window.end; ++i) {
    if (view.tokens[static_cast<std::size_t>(i)] == view.model.mask_token)
      positions.push_back(static_cast<std::int32_t>(i));
  }
  return positions;
}

std::int64_t final_length_after(const BranchView& view, std::span<const CanvasEdit> edits) {
  const auto is_edited = [&](std::int64_t position) {
    return std::any_of(edits.begin(), edits.end(), [&](const CanvasEdit& edit) {
      return edit.position == position && edit.token != view.model.mask_token;
    });
  };
  std::int64_t length = 0;
  while (length < std::ssize(view.tokens) &&
         (view.tokens[static_cast<std::size_t>(length)] != view.model.mask_token ||
          is_edited(length))) {
    ++length;
  }
  return length;
}

double order_uniform(const RngKey& key, std::int32_t position, std::uint32_t step) {
  return uniform(order_key(key), static_cast<std::uint64_t>(position), step);
}

std::vector<std::int32_t> random_order(const RngKey& key, std::uint32_t step,
                                       std::vector<std::int32_t> positions) {
  std::vector<std::pair<double, std::int32_t>> keyed;
  keyed.reserve(positions.size());
  for (const std::int32_t position : positions)
    keyed.emplace_back(order_uniform(key, position, step), position);
  std::sort(keyed.begin(), keyed.end());
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = keyed[i].second;
  return positions;
}

void sort_by_confidence(std::vector<Proposal>& proposals) {
  std::sort(proposals.begin(), proposals.end(), [](const Proposal& a, const Proposal& b) {
    return a.confidence != b.confidence ? a.confidence > b.confidence : a.position < b.position;
  });
}

void perturb(std::vector<Proposal>& proposals, double temperature, const RngKey& key,
             std::uint32_t step) {
  for (Proposal& proposal : proposals) {
    // 1 - u lies in (0, 1], so that the inner logarithm is finite but for one value of u.
    const double u = 1.0 - order_uniform(key, proposal.position, step);
    proposal.confidence = proposal.confidence / temperature - std::log(-std::log(u));
  }
}

std::size_t count_by_threshold(std::span<const Proposal> sorted, double threshold) {
  std::size_t count = 1;
  while (count < sorted.size() && sorted[count].confidence >= threshold) ++count;
  return count;
}

std::size_t count_by_factor(std::span<const Proposal> sorted, double factor, bool quirk) {
  std::size_t count = 1;
  while (count < sorted.size() &&
         sorted[count].confidence >= 1.0 - factor / (static_cast<double>(count) + 2.0)) {
    ++count;
  }
  if (quirk && count + 1 == sorted.size()) ++count;
  return count;
}

}  // namespace foresight
