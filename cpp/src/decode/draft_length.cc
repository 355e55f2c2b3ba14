#include "decode/draft_length.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace foresight {

DraftCost::DraftCost(std::vector<std::int64_t> forward, double per_token, double per_round)
    : forward_(std::move(forward)), per_token_(per_token), per_round_(per_round) {
  if (forward_.size() < 2 || *std::min_element(forward_.begin(), forward_.end()) <= 0)
    throw ValueError("the costs of forwards must be at least two positive numbers");
}

double DraftCost::forward(std::int64_t rows) const {
  const auto size = std::ssize(forward_);
  const auto at = [&](std::int64_t i) {
    return static_cast<double>(forward_[static_cast<std::size_t>(i)]);
  };
  if (rows <= size) return at(rows - 1);
  const double slope = std::max(0.0, at(size - 1) - at(size - 2));
  return at(size - 1) + slope * static_cast<double>(rows - size);
}

double DraftCost::of(std::int64_t num_drafts, std::int64_t num_decoding) const {
  const double verify = forward(num_decoding * (num_drafts + 1)) / forward(num_decoding);
  if (num_drafts == 0) return verify;
  return verify + per_round_ + per_token_ * static_cast<double>(num_drafts);
}

namespace {

struct Fastest {
  std::int64_t num_drafts = 0;
  double speed = 1.0;  // over plain decoding
};

Fastest fastest(double acceptance, std::int64_t most, const DraftCost& cost,
                std::int64_t num_decoding) {
  Fastest best;
  double tokens = 1.0;  // of a step: one, and one more for every guess that is reached and right
  double reached = 1.0;
  for (std::int64_t n = 1; n <= most; ++n) {
    reached *= acceptance;
    tokens += reached;
    const double speed = tokens / cost.of(n, num_decoding);
    if (speed > best.speed) best = {.num_drafts = n, .speed = speed};
  }
  return best;
}

}  // namespace

std::int64_t DraftLength::choose(std::int64_t most, const DraftCost& cost,
                                 std::int64_t num_decoding, DraftPace* pace) const {
  const Fastest best = fastest(acceptance_, most, cost, num_decoding);
  if (pace != nullptr) *pace = {.acceptance = acceptance_, .speed = best.speed};
  if (best.num_drafts > 0 || !tries_again()) return best.num_drafts;
  // A try costs: there is nothing to learn where rows are so dear that no guess would pay.
  return fastest(1.0, most, cost, num_decoding).num_drafts > 0 ? 1 : 0;
}

void DraftLength::note_tested(std::int64_t drafted, std::int64_t accepted) {
  if (drafted == 0) return;
  const bool was_off = tries_again();
  const auto note = [&](double right) {
    ++tests_;
    const double weight = std::max(kWeight, 1.0 / static_cast<double>(tests_));
    acceptance_ += weight * (right - acceptance_);
  };
  for (std::int64_t i = 0; i < accepted; ++i) note(1.0);
  if (accepted < drafted) note(0.0);
  if (was_off && accepted > 0) {
    // One right guess after a long silence: worth a fresh look.
    acceptance_ = std::max(acceptance_, 0.5);
    tests_ = 2;
    patience_ = kLeastPatience;
  } else if (was_off) {
    patience_ = std::min(2 * patience_, kMostPatience);
  }
  plain_tokens_ = 0;
}

}  // namespace foresight
