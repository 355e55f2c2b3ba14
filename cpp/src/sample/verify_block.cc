#include "sample/verify_block.h"

#include <algorithm>
#include <cstddef>

#include "sample/verify.h"

namespace foresight {

namespace {

// max(0, weight * p - q) of one token, q being one-hot at `draft` where it is empty.
template <typename Real>
double residual_at(std::span<const Real> p, std::span<const Real> q, Token draft, double weight,
                   std::size_t token) {
  const double wanted = weight * static_cast<double>(p[token]);
  if (q.empty()) return token == static_cast<std::size_t>(draft) ? 0.0 : wanted;
  return std::max(0.0, wanted - static_cast<double>(q[token]));
}

}  // namespace

template <typename Real>
typename BlockVerifier<Real>::Verdict BlockVerifier<Real>::next(std::span<Real> p,
                                                                std::span<const Real> q,
                                                                Token draft, double test_uniform,
                                                                double token_uniform) {
  const bool is_last = draft == kNoToken;
  double residual = 0.0;
  double reached = weight_;  // h of the paper
  double ratio = 0.0;
  if (!is_last) {
    for (std::size_t i = 0; i < p.size(); ++i)
      residual += residual_at<Real>(p, q, draft, weight_, i);
    const double whole = residual + 1.0 - weight_;
    reached = whole > 0.0 ? residual / whole : 1.0;
    const auto at = static_cast<std::size_t>(draft);
    const double proposed = q.empty() ? 1.0 : static_cast<double>(q[at]);
    ratio = proposed > 0.0 ? static_cast<double>(p[at]) / proposed : 0.0;
  }
  Verdict verdict{.ends = is_first_ || test_uniform < reached};
  if (verdict.ends) {
    // Without a residual (p is q up to rounding) a later row cuts the chain, all but surely.
    if (!is_last && residual > 0.0) {
      for (std::size_t i = 0; i < p.size(); ++i)
        p[i] = static_cast<Real>(residual_at<Real>(p, q, draft, weight_, i));
    }
    verdict.token = draw<Real>(p, token_uniform);
  }
  is_first_ = false;
  weight_ = is_last ? 0.0 : std::min(1.0, weight_ * ratio);
  return verdict;
}

template class BlockVerifier<float>;
template class BlockVerifier<double>;

}  // namespace foresight
