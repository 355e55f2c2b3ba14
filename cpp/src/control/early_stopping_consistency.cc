// Early-stopping self-consistency (Li et al., 2401.10480): windows of branches one after another,
// until all branches of a window agree; else all vote.
#include <algorithm>

#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class EarlyStoppingConsistency final : public Controller {
 public:
  explicit EarlyStoppingConsistency(const Options& options)
      : width_(count_option(options, "width")), window_(count_option(options, "window")) {}

  void on_start(const BranchesView& view, Actions& actions) override {
    start_window(view, actions);
  }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    if (view.num_with(BranchStatus::running) > 0) return;
    const auto window = view.branches().subspan(static_cast<std::size_t>(first_));
    const AnswerId answer = window.front().answer;
    const bool agree = answer != kNoAnswer &&
                       std::all_of(window.begin(), window.end(), [&](const BranchRecord& branch) {
                         return branch.is_finished() && branch.answer == answer;
                       });
    if (agree) {
      actions.stop(answer, concat("all ", window.size(), " branches of the window agree"));
    } else if (view.size() < width_) {
      start_window(view, actions);
    }
  }

 private:
  void start_window(const BranchesView& view, Actions& actions) {
    first_ = view.size();
    actions.start(std::min(window_, width_ - view.size()));
  }

  std::int64_t width_;
  std::int64_t window_;
  std::int32_t first_ = 0;  // branch of the window
};

}  // namespace

std::unique_ptr<Controller> make_early_stopping_consistency(const Options& options) {
  return std::make_unique<EarlyStoppingConsistency>(options);
}

}  // namespace foresight
