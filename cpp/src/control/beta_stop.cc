// Side by side until the majority of those that have finished is sure to be the majority: the test
// of Adaptive-Consistency (2305.11860), made whenever a branch finishes.
#include "control/beta.h"
#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class BetaStop final : public Controller {
 public:
  explicit BetaStop(const Options& options)
      : width_(count_option(options, "width")),
        confidence_(share_option(options, "confidence", true)),
        min_finished_(count_option(options, "min_finished")) {}

  void on_start(const BranchesView&, Actions& actions) override { actions.start(width_); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    if (view.num_with(BranchStatus::finished) < min_finished_) return;
    const double confidence = lead_confidence(view.finished_votes());
    if (confidence >= confidence_)
      actions.stop(kNoAnswer, concat("majority of the finished sure to ", confidence));
  }

 private:
  std::int64_t width_;
  double confidence_;
  std::int64_t min_finished_;
};

}  // namespace

std::unique_ptr<Controller> make_beta_stop(const Options& options) {
  return std::make_unique<BetaStop>(options);
}

}  // namespace foresight
