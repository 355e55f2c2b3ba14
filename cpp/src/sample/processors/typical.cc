// Locally typical sampling (Meister et al., 2022): the fewest tokens that hold the mass typical_p,
// those first whose information content -log p is closest to the entropy. Ties with the last stay.
#include <algorithm>
#include <cmath>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

class Typical final : public LogitsProcessor {
 public:
  Typical(const CpuContext& context, double mass) : context_(context), mass_(mass) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    const auto softmax = softmax_of(context_, scores);
    if (!softmax) return;
    const double entropy = entropy_of(context_, scores, *softmax);
    const double log_sum_exp = softmax->log_sum_exp();

    // Tokens of probability at least q = (1 - mass) / vocab hold the mass, so no token further from
    // the entropy than all of them is kept: -log p <= max(-log q, 2 H + log p_max).
    const double rarest = -std::log((1.0 - mass_) / static_cast<double>(scores.size()));
    const double mirrored = 2.0 * entropy - std::log(softmax->sum);
    std::vector<Candidate> candidates =
        collect_from(scores, log_sum_exp - std::max(rarest, mirrored) - kLogSlack);
    for (Candidate& candidate : candidates) {
      const double information = log_sum_exp - static_cast<double>(candidate.key);
      candidate.key = static_cast<float>(std::fabs(information - entropy));
    }

    const std::size_t kept = keep_mass(
        std::span(candidates), [](const Candidate& a, const Candidate& b) { return a.key < b.key; },
        [&](const Candidate& candidate) {
          return softmax->probability(scores[static_cast<std::size_t>(candidate.token)]);
        },
        // Compared in float32, where masses that are equal on paper are equal.
        [this](double mass) { return static_cast<float>(mass) >= static_cast<float>(mass_); });
    const float furthest = candidates[kept - 1].key;
    const auto end = std::partition(
        candidates.begin() + static_cast<std::ptrdiff_t>(kept), candidates.end(),
        [furthest](const Candidate& candidate) { return candidate.key == furthest; });
    forbid_all_but(scores, {candidates.begin(), end});
  }

 private:
  CpuContext context_;
  double mass_;
};

}  // namespace

Processor make_typical(const CpuContext& context, double typical_p) {
  check_range(typical_p > 0.0 && typical_p <= 1.0, "typical_p", typical_p,
              "a number above 0 and at most 1 (1: off)");
  return std::make_shared<Typical>(context, typical_p);
}

}  // namespace foresight
