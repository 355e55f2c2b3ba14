// Tests of drafts against a model's own distribution, as pure functions of distributions and
// uniform numbers. A distribution is one weight per token, not negative, of sum 1 up to rounding.
// In float for the engine and in double for proofs by enumeration: one code for both.
#pragma once

#include <span>

#include "rows/rows.h"

namespace foresight {

// The token whose interval of the cumulated weights, in order of token id, holds `uniform` in
// [0, 1). The weights may have any sum above zero; one of zero is never drawn.
template <typename Real>
Token draw(std::span<const Real> weights, double uniform);

// With which probability `draft` stays, tested against p. Drawn from q: min(1, p / q), but zero
// where p is. With an empty q, for a draft that was certain to be proposed: p (Leviathan, Kalman
// and Matias, "Fast inference from transformers via speculative decoding", 2023).
template <typename Real>
double acceptance(std::span<const Real> p, std::span<const Real> q, Token draft);

// p <- weights of the token that stands in for a rejected draft: max(0, p - q), or, with an empty
// q, p without the draft. With acceptance() that gives p, whatever q is, when the draft was drawn
// from q, or certain. False where nothing would be left (p is q but for rounding): p stays as it
// is.
template <typename Real>
bool make_residual(std::span<Real> p, std::span<const Real> q, Token draft);

struct Verdict {
  bool accepted = false;
  Token token = kNoToken;  // the draft, or what stands in for it
};

// Both together; p is used up. Never a token of weight zero in p, whatever q is. I-DLM's published
// sampler (arXiv 2604.11035) tests the most likely token of q as though it were drawn from q: same
// arithmetic, but then the law is not p.
template <typename Real>
Verdict verify(std::span<Real> p, std::span<const Real> q, Token draft, double accept_uniform,
               double residual_uniform);

// Typical acceptance (Medusa, arXiv 2401.10774), another law than p: a draft stays if p gives it
// more than min(epsilon, delta * exp(-entropy of p)).
template <typename Real>
bool is_typical(std::span<const Real> p, Token draft, double epsilon, double delta);

}  // namespace foresight
