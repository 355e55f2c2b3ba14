// Branches in waves: when a fraction of a wave has finished, its stragglers are pruned; if the
// majority of all that have finished is sure by then, it answers, else the next wave starts.
#include <cmath>

#include "control/beta.h"
#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class Waves final : public Controller {
 public:
  explicit Waves(const Options& options)
      : sizes_(option<std::vector<std::int64_t>>(options, "sizes")),
        fraction_(share_option(options, "fraction", false)),
        confidence_(share_option(options, "confidence", true)) {
    if (sizes_.empty()) throw ValueError("option 'sizes' is empty, expected at least one wave");
    for (const std::int64_t size : sizes_) {
      if (size < 1) throw ValueError(concat("option 'sizes' holds ", size, ", expected 1 or more"));
    }
  }

  void on_start(const BranchesView& view, Actions& actions) override { start_wave(view, actions); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    const std::int64_t size = sizes_[num_started_ - 1];
    // Against rounding: 0.1 * 10 is a little more than 1 in binary.
    const auto enough =
        static_cast<std::int64_t>(std::ceil(fraction_ * static_cast<double>(size) * (1.0 - 1e-12)));
    std::int64_t finished = 0;
    std::int64_t running = 0;
    for (std::int32_t i = first_; i < view.size(); ++i) {
      finished += view[i].is_finished() ? 1 : 0;
      running += view[i].is_running() ? 1 : 0;
    }
    if (finished < enough && running > 0) return;
    for (std::int32_t i = first_; i < view.size(); ++i) {
      if (view[i].is_running())
        actions.prune(i, concat(finished, " of the wave's ", size, " have finished"));
    }
    const double confidence = lead_confidence(view.finished_votes());
    if (confidence >= confidence_) {
      actions.stop(kNoAnswer, concat("majority of the finished sure to ", confidence));
    } else if (num_started_ < sizes_.size()) {
      start_wave(view, actions);
    }
  }

 private:
  void start_wave(const BranchesView& view, Actions& actions) {
    first_ = view.size();
    actions.start(sizes_[num_started_++]);
  }

  std::vector<std::int64_t> sizes_;
  double fraction_;
  double confidence_;
  std::size_t num_started_ = 0;  // waves
  std::int32_t first_ = 0;       // branch of the last wave
};

}  // namespace

std::unique_ptr<Controller> make_waves(const Options& options) {
  return std::make_unique<Waves>(options);
}

}  // namespace foresight
