// Adaptive-Consistency (Aggarwal et al., 2305.11860): one branch after another, until the majority
// is sure by the Beta test of its two most frequent answers.
#include "control/beta.h"
#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class AdaptiveConsistency final : public Controller {
 public:
  explicit AdaptiveConsistency(const Options& options)
      : width_(count_option(options, "width")),
        confidence_(share_option(options, "confidence", true)) {}

  void on_start(const BranchesView&, Actions& actions) override { actions.start(1); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    const double confidence = lead_confidence(view.finished_votes());
    if (confidence >= confidence_) {
      actions.stop(kNoAnswer, concat("majority sure to ", confidence));
    } else if (view.size() < width_) {
      actions.start(1);
    }
  }

 private:
  std::int64_t width_;
  double confidence_;
};

}  // namespace

std::unique_ptr<Controller> make_adaptive_consistency(const Options& options) {
  return std::make_unique<AdaptiveConsistency>(options);
}

}  // namespace foresight
