// Top-H decoding (Baghaei Potraghloo et al., 2025): of the 100 best tokens, renormalised, the
// longest run from the best whose entropy terms -p log p add up to at most top_h times their
// entropy.
#include <algorithm>
#include <cmath>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

constexpr std::size_t kNumConsidered = 100;

class TopH final : public LogitsProcessor {
 public:
  TopH(const CpuContext& context, double top_h) : context_(context), top_h_(top_h) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    if (!softmax_of(context_, scores)) return;
    std::vector<Candidate> best = select_best(scores, kNumConsidered);
    std::sort(best.begin(), best.end(), is_better);

    const auto max = static_cast<double>(best.front().key);
    double sum = 0.0;
    for (const Candidate& candidate : best) sum += std::exp(candidate.key - max);
    const auto entropy_term = [&](const Candidate& candidate) {
      const double log_probability = candidate.key - max - std::log(sum);
      return -std::exp(log_probability) * log_probability;
    };
    double entropy = 0.0;
    for (const Candidate& candidate : best) entropy += entropy_term(candidate);

    double cumulated = entropy_term(best.front());
    std::size_t kept = 1;
    while (kept < best.size()) {
      const double term = entropy_term(best[kept]);
      cumulated += term;
      // Compared in float32, where sums that are equal on paper are equal; a probability that
      // float32 does not tell from 0 has no term.
      if (static_cast<float>(cumulated) > static_cast<float>(top_h_ * entropy)) break;
      if (static_cast<float>(term) == 0.0f) break;
      ++kept;
    }
    forbid_all_but(scores, std::span(best).first(kept));
  }

 private:
  CpuContext context_;
  double top_h_;
};

}  // namespace

Processor make_top_h(const CpuContext& context, double top_h) {
  check_range(top_h > 0.0 && top_h <= 1.0, "top_h", top_h, "a number above 0 and at most 1");
  return std::make_shared<TopH>(context, top_h);
}

}  // namespace foresight
