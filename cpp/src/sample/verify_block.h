// Block verification (Sun et al., "Block verification accelerates speculative decoding", arXiv
// 2403.10444): a chain of drafts is tested as a whole, and as many of them stay as any test that
// keeps the target's law can keep, in expectation.
#pragma once

#include <cstdint>
#include <span>

#include "rows/rows.h"

namespace foresight {

// Fed the rows of a chain in order: row i is what follows the first i drafts. The last row that
// ends() says yes to is where the chain is cut: the drafts before it stay, and its token follows.
template <typename Real>
class BlockVerifier {
 public:
  struct Verdict {
    bool ends = false;       // so far the chain is to be cut here; always at the first row
    Token token = kNoToken;  // then: what follows
  };

  // p: the target's distribution in the row, used up; q: what the next draft was drawn from (empty:
  // it was certain); draft: that draft, or kNoToken behind the last one. Uniform numbers in [0, 1),
  // both independent of all others.
  Verdict next(std::span<Real> p, std::span<const Real> q, Token draft, double test_uniform,
               double token_uniform);

  // True when no later row can be where the chain is cut.
  bool is_decided() const { return weight_ == 0.0; }

 private:
  double weight_ = 1.0;  // w of the paper: how likely the drafts so far are to stay, at most
  bool is_first_ = true;
};

}  // namespace foresight
