#include "control/beta.h"

#include <cmath>

namespace foresight {

double beta_above_half(std::int64_t a, std::int64_t b) {
  // I_{1/2}(b + 1, a + 1) = P(at least b + 1 heads in n = a + b + 1 tosses), and the other tail of
  // it when that is the shorter sum.
  if (b > a) return 1.0 - beta_above_half(b, a);
  const auto n = static_cast<double>(a + b + 1);
  // sum of C(n, j) for j = 0..b, both scaled by 2^-exponent against overflow.
  double term = 1.0;
  double sum = 1.0;
  int exponent = 0;
  constexpr int kStep = 512;
  for (std::int64_t j = 1; j <= b; ++j) {
    const auto step = static_cast<double>(j);
    term *= (n - step + 1.0) / step;
    sum += term;
    if (term < 0x1p512) continue;
    term = std::ldexp(term, -kStep);
    sum = std::ldexp(sum, -kStep);
    exponent += kStep;
  }
  return 1.0 - std::ldexp(sum, exponent - static_cast<int>(a + b + 1));
}

double lead_confidence(std::span<const Vote> votes) {
  if (votes.empty()) return 0.5;
  const double second = votes.size() > 1 ? votes[1].weight : 0.0;
  return beta_above_half(std::llround(votes[0].weight), std::llround(second));
}

}  // namespace foresight
