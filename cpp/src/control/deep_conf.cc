// DeepConf (Fu et al., 2508.15260), by the lowest confidence of a group of tokens. Online: `warmup`
// branches run to their end first; the bar is the confidence that the best `keep` of them reach;
// the others are pruned when they fall below it, and the request ends when one answer has a share
// of `consensus` of the weight. Offline (warmup == width): all run, and those that reach the bar
// vote. Votes are weighted by confidence.
#include <algorithm>
#include <cmath>

#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

// Tokens between two looks at the running branches.
constexpr std::int64_t kInterval = 32;

// The q-quantile, linear between order statistics.
double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], place - std::floor(place));
}

class DeepConf final : public Controller {
 public:
  explicit DeepConf(const Options& options)
      : width_(count_option(options, "width")),
        warmup_(count_option(options, "warmup")),
        keep_(share_option(options, "keep", false)),
        group_(count_option(options, "group")),
        consensus_(share_option(options, "consensus", false)) {
    if (warmup_ > width_)
      throw ValueError(concat("option 'warmup' is ", warmup_, ", more than the width ", width_));
  }

  Needs needs() const override {
    return {
        .interval = is_offline() ? 0 : kInterval, .confidence = true, .confidence_group = group_};
  }

  void on_start(const BranchesView&, Actions& actions) override { actions.start(warmup_); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    if (view.size() == warmup_) {
      if (view.num_with(BranchStatus::running) > 0) return;
      bar_ = bar_of(view);
      if (is_offline() || stop_by_consensus(view, actions)) return;
      actions.start(width_ - warmup_);
      return;
    }
    stop_by_consensus(view, actions);
  }

  void on_interval(const BranchesView& view, Actions& actions) override {
    for (auto i = static_cast<std::int32_t>(warmup_); i < view.size(); ++i) {
      if (view[i].is_running() && view[i].confidence < bar_)
        actions.prune(i, concat("confidence ", view[i].confidence, " is below ", bar_));
    }
  }

  std::vector<Vote> votes(const BranchesView& view) const override {
    if (!is_offline()) return Controller::votes(view);
    std::vector<BranchRecord> good;
    for (const BranchRecord& branch : view.branches()) {
      if (branch.is_finished() && branch.confidence >= bar_) good.push_back(branch);
    }
    return Controller::votes(BranchesView(good, view.clock()));
  }

 private:
  bool is_offline() const { return warmup_ == width_; }

  // Without any known confidence nobody is below the bar.
  double bar_of(const BranchesView& view) const {
    std::vector<double> known;
    for (const BranchRecord& branch : view.branches()) {
      if (branch.is_finished() && !std::isnan(branch.confidence))
        known.push_back(branch.confidence);
    }
    return known.empty() ? -HUGE_VAL : quantile(std::move(known), 1.0 - keep_);
  }

  bool stop_by_consensus(const BranchesView& view, Actions& actions) const {
    if (view.num_with(BranchStatus::running) == 0 && view.size() == width_) return false;
    const std::vector<Vote> votes = this->votes(view);
    double all = 0.0;
    for (const Vote& vote : votes) all += vote.weight;
    if (votes.empty() || votes[0].weight < consensus_ * all) return false;
    actions.stop(votes[0].answer,
                 concat("one answer has ", votes[0].weight / all, " of the weight"));
    return true;
  }

  std::int64_t width_;
  std::int64_t warmup_;
  double keep_;
  std::int64_t group_;
  double consensus_;
  double bar_ = -HUGE_VAL;
};

}  // namespace

std::unique_ptr<Controller> make_deep_conf(const Options& options) {
  auto controller = std::make_unique<DeepConf>(options);
  controller->set_vote(VoteKind::confidence);
  return controller;
}

}  // namespace foresight
