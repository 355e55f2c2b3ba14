// Likely lead: stops when the answer that leads among the finished branches would most likely also
// lead if all of them finished. Between the Beta test, which takes the finished branches for a fair
// sample of all, and the lossless lead, which believes nothing of those that run: a share of the
// running branches, the caution, counts as votes for the runner-up, the others are taken to vote as
// the finished ones did.
#include <algorithm>
#include <cmath>

#include "control/controllers.h"
#include "control/option_checks.h"
#include "core/error.h"

namespace foresight {

namespace {

// P(X >= least) for X ~ beta-binomial(count, a + 1, b + 1): how many of `count` further votes go to
// the first of two answers, after a and b votes for them and with any share equally likely before.
double further_votes_at_least(std::int64_t least, std::int64_t count, std::int64_t a,
                              std::int64_t b) {
  if (least <= 0) return 1.0;
  if (least > count) return 0.0;
  const auto alpha = static_cast<double>(a + 1);
  const auto beta = static_cast<double>(b + 1);
  const auto n = static_cast<double>(count);
  // Of X = 0, then by the ratio of neighbours; in logarithms, since the first may underflow.
  double log_term = 0.0;
  for (double i = 0.0; i < n; ++i) log_term += std::log((beta + i) / (alpha + beta + i));
  double sum = 0.0;
  for (std::int64_t x = 0; x <= count; ++x) {
    if (x >= least) sum += std::exp(log_term);
    const auto k = static_cast<double>(x);
    if (x < count) log_term += std::log((n - k) * (alpha + k) / ((k + 1.0) * (beta + n - k - 1.0)));
  }
  return std::min(sum, 1.0);
}

class LikelyLead final : public Controller {
 public:
  explicit LikelyLead(const Options& options)
      : width_(count_option(options, "width")),
        confidence_(share_option(options, "confidence", true)),
        caution_(option<double>(options, "caution")),
        min_finished_(count_option(options, "min_finished")) {
    if (!(caution_ >= 0.0 && caution_ <= 1.0))
      throw ValueError(concat("option 'caution' is ", caution_, ", expected from 0 to 1"));
  }

  void on_start(const BranchesView&, Actions& actions) override { actions.start(width_); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    if (view.num_with(BranchStatus::finished) < min_finished_) return;
    const std::vector<Vote> votes = view.finished_votes();
    if (votes.empty()) return;
    const std::int64_t first = std::llround(votes[0].weight);
    const std::int64_t second = votes.size() > 1 ? std::llround(votes[1].weight) : 0;
    const std::int64_t running = view.num_with(BranchStatus::running);
    // A product like 0.1 * 10 may lie a rounding error above the whole number that it stands for.
    constexpr double kRounding = 1e-9;
    const auto against =
        static_cast<std::int64_t>(std::ceil(caution_ * static_cast<double>(running) - kRounding));
    // x further votes keep the lead if first + x > second + running - x, with floor division.
    const std::int64_t doubled = second - first + running;
    const std::int64_t least = doubled < 0 ? 0 : doubled / 2 + 1;
    const double lasts = further_votes_at_least(least, running - against, first, second);
    if (lasts >= confidence_)
      actions.stop(votes[0].answer, concat("the lead lasts with probability ", lasts));
  }

 private:
  std::int64_t width_;
  double confidence_;
  double caution_;
  std::int64_t min_finished_;
};

}  // namespace

std::unique_ptr<Controller> make_likely_lead(const Options& options) {
  return std::make_unique<LikelyLead>(options);
}

}  // namespace foresight
