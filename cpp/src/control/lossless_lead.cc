// Lossless lead: stops when the finished branches' first answer leads the second by more than
// still run. Exact: the answer is self-consistency's over the same branches, since no outcome of
// those that run can change it.
#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class LosslessLead final : public Controller {
 public:
  explicit LosslessLead(const Options& options) : width_(count_option(options, "width")) {}

  void on_start(const BranchesView&, Actions& actions) override { actions.start(width_); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    const std::vector<Vote> votes = view.finished_votes();
    if (votes.empty()) return;
    const double second = votes.size() > 1 ? votes[1].weight : 0.0;
    const std::int32_t running = view.num_with(BranchStatus::running);
    if (running > 0 && votes[0].weight - second > running)
      actions.stop(votes[0].answer, concat("no ", running, " votes can change the majority"));
  }

 private:
  std::int64_t width_;
};

}  // namespace

std::unique_ptr<Controller> make_lossless_lead(const Options& options) {
  return std::make_unique<LosslessLead>(options);
}

}  // namespace foresight
