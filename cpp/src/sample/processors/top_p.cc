// Nucleus sampling (Holtzman et al., "The curious case of neural text degeneration", 2019): the
// fewest tokens, best first, that hold the mass top_p. Among equal scores higher ids come first.
#include <cmath>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

class TopP final : public LogitsProcessor {
 public:
  TopP(const CpuContext& context, double top_p) : context_(context), rest_(1.0 - top_p) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    const auto softmax = softmax_of(context_, scores);
    if (!softmax) return;

    // A token goes when the mass of itself and all worse ones is at most `rest_`. Tokens of
    // probability below rest_ / vocab weigh less than that all together: they need no sorting.
    const double never = std::log(rest_ / static_cast<double>(scores.size()));
    std::vector<Candidate> candidates =
        collect_from(scores, softmax->log_sum_exp() + never - kLogSlack);

    const std::size_t kept = keep_mass(
        std::span(candidates),
        [](const Candidate& a, const Candidate& b) {
          return a.key != b.key ? a.key > b.key : a.token > b.token;
        },
        [&](const Candidate& candidate) { return softmax->probability(candidate.key); },
        // Compared in float32, where masses that are equal on paper are equal.
        [this](double above) {
          return static_cast<float>(1.0 - above) <= static_cast<float>(rest_);
        });
    forbid_all_but(scores, std::span(candidates).first(kept));
  }

 private:
  CpuContext context_;
  double rest_;  // the mass that may go
};

}  // namespace

Processor make_top_p(const CpuContext& context, double top_p) {
  check_range(top_p >= 0.0 && top_p <= 1.0, "top_p", top_p, "a number from 0 to 1 (1: off)");
  return std::make_shared<TopP>(context, top_p);
}

}  // namespace foresight
