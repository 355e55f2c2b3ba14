#include "decode/stride.h"

namespace foresight {

double stride_speed(std::int64_t stride, double acceptance, const StrideCost& cost) {
  const auto forward = [&](std::int64_t rows) {
    return 1.0 + cost.row_cost * static_cast<double>(rows - 1);
  };
  if (stride == 1) return 1.0;
  // One token, and one more for every draft that is reached and accepted.
  double tokens = 0.0;
  double reached = 1.0;
  for (std::int64_t i = 0; i < stride; ++i) {
    tokens += reached;
    if (i + 1 < stride) reached *= acceptance;
  }
  if (cost.exact) return tokens / forward(stride * stride);
  // After a rejection a forward of one clean row and the masks starts anew, and gives one token.
  const double rejected = 1.0 - reached;
  return (tokens + rejected) / (forward(2 * stride - 1) + rejected * forward(stride));
}

std::int64_t best_stride(double acceptance, const StrideCost& cost) {
  const std::int64_t highest = acceptance >= 0.9 ? kMaxStride : 4;
  std::int64_t best = 1;
  for (std::int64_t stride = 2; stride <= highest; ++stride) {
    if (stride_speed(stride, acceptance, cost) > stride_speed(best, acceptance, cost))
      best = stride;
  }
  return best;
}

void RunningAcceptance::note_tested(std::int64_t accepted, bool rejected) {
  for (std::int64_t i = 0; i < accepted; ++i) value_ += kWeight * (1.0 - value_);
  if (rejected) value_ -= kWeight * value_;
}

void RunningAcceptance::note_plain() {
  if (++plain_tokens_ < kPlainTokens) return;
  plain_tokens_ = 0;
  value_ = kPrior;
}

}  // namespace foresight
