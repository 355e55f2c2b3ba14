#include "sample/verify.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace foresight {

namespace {

std::size_t index_of(Token token) { return static_cast<std::size_t>(token); }

// In several lanes, which compilers keep in flight together; always in the same order.
template <typename Real>
double sum_of(std::span<const Real> weights) {
  std::array<double, 8> lanes{};
  for (std::size_t i = 0; i < weights.size(); ++i)
    lanes[i % lanes.size()] += static_cast<double>(weights[i]);
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

template <typename Real>
Token draw(std::span<const Real> weights, double uniform) {
  const double target = uniform * sum_of(weights);
  double cumulated = 0.0;
  std::size_t token = 0;
  for (std::size_t i = 0; i < weights.size() && cumulated <= target; ++i) {
    if (weights[i] == Real{0}) continue;
    token = i;
    cumulated += static_cast<double>(weights[i]);
  }
  return static_cast<Token>(token);
}

template <typename Real>
double acceptance(std::span<const Real> p, std::span<const Real> q, Token draft) {
  const auto wanted = static_cast<double>(p[index_of(draft)]);
  if (q.empty() || wanted == 0.0) return wanted;
  const auto proposed = static_cast<double>(q[index_of(draft)]);
  return wanted >= proposed ? 1.0 : wanted / proposed;
}

template <typename Real>
bool make_residual(std::span<Real> p, std::span<const Real> q, Token draft) {
  const auto residual_at = [&](std::size_t i) {
    if (q.empty()) return i == index_of(draft) ? Real{0} : p[i];
    return std::max(Real{0}, p[i] - q[i]);
  };
  std::size_t first = 0;
  while (first < p.size() && residual_at(first) == Real{0}) ++first;
  if (first == p.size()) return false;
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = residual_at(i);
  return true;
}

template <typename Real>
Verdict verify(std::span<Real> p, std::span<const Real> q, Token draft, double accept_uniform,
               double residual_uniform) {
  if (accept_uniform < acceptance<Real>(p, q, draft)) return {true, draft};
  // Without a residual the draft is as good as any token that p allows.
  if (!make_residual<Real>(p, q, draft) && p[index_of(draft)] > Real{0}) return {true, draft};
  return {false, draw<Real>(p, residual_uniform)};
}

template <typename Real>
bool is_typical(std::span<const Real> p, Token draft, double epsilon, double delta) {
  double entropy = 0.0;
  for (const Real weight : p) {
    const auto mass = static_cast<double>(weight);
    if (mass > 0.0) entropy -= mass * std::log(mass);
  }
  const double threshold = std::min(epsilon, delta * std::exp(-entropy));
  return static_cast<double>(p[index_of(draft)]) > threshold;
}

template bool is_typical(std::span<const float>, Token, double, double);
template bool is_typical(std::span<const double>, Token, double, double);
template Token draw(std::span<const float>, double);
template Token draw(std::span<const double>, double);
template double acceptance(std::span<const float>, std::span<const float>, Token);
template double acceptance(std::span<const double>, std::span<const double>, Token);
template bool make_residual(std::span<float>, std::span<const float>, Token);
template bool make_residual(std::span<double>, std::span<const double>, Token);
template Verdict verify(std::span<float>, std::span<const float>, Token, double, double);
template Verdict verify(std::span<double>, std::span<const double>, Token, double, double);

}  // namespace foresight
