// Parallel-Probe (2602.03845): every branch is probed at the same depths; a branch that disagrees
// with the majority too often in a row is pruned, and a majority that stands long enough is the
// answer. As in the authors' released class: finished branches go on voting, only unfinished ones
// are pruned, disagreement is counted after the warm-up only, and the warm-up does not delay the
// stop.
#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class ParallelProbe final : public Controller {
 public:
  explicit ParallelProbe(const Options& options)
      : width_(count_option(options, "width")),
        interval_(count_option(options, "interval")),
        stable_(count_option(options, "stable")),
        patience_(count_option(options, "patience")),
        warmup_(count_option(options, "warmup", 0)) {}

  Needs needs() const override { return {.interval = interval_, .probe_interval = interval_}; }

  void on_start(const BranchesView&, Actions& actions) override { actions.start(width_); }

  void on_interval(const BranchesView& view, Actions& actions) override {
    ++round_;
    // The first round only reads: there is no earlier majority to agree with.
    if (round_ == 1) return;
    const std::vector<Vote> votes = view.current_votes();
    const AnswerId winner = votes.empty() ? kNoAnswer : votes.front().answer;
    rounds_unchanged_ = round_ > 2 && winner == winner_ ? rounds_unchanged_ + 1 : 0;
    winner_ = winner;
    if (winner == kNoAnswer) return;
    if (rounds_unchanged_ >= stable_) {
      actions.stop(winner, concat("majority unchanged for ", stable_, " probes"));
      return;
    }
    if (round_ < warmup_ + kUncountedRounds) return;
    disagreements_.resize(static_cast<std::size_t>(view.size()), 0);
    for (std::int32_t i = 0; i < view.size(); ++i) {
      if (!view[i].is_running()) continue;
      std::int64_t& count = disagreements_[static_cast<std::size_t>(i)];
      count = view[i].answer == winner ? 0 : count + 1;
      if (count >= patience_)
        actions.prune(i, concat("outvoted in ", patience_, " probes in a row"));
    }
  }

  std::vector<Vote> votes(const BranchesView& view) const override { return view.current_votes(); }

 private:
  // The released loop numbers its steps from 0, after a first reading: disagreement is counted from
  // the reading number warmup + 2 on.
  static constexpr std::int64_t kUncountedRounds = 2;

  std::int64_t width_;
  std::int64_t interval_;
  std::int64_t stable_;
  std::int64_t patience_;
  std::int64_t warmup_;
  std::int64_t round_ = 0;  // readings so far
  AnswerId winner_ = kNoAnswer;
  std::int64_t rounds_unchanged_ = 0;
  std::vector<std::int64_t> disagreements_;  // in a row, per branch
};

}  // namespace

std::unique_ptr<Controller> make_parallel_probe(const Options& options) {
  return std::make_unique<ParallelProbe>(options);
}

}  // namespace foresight
