// The first `count` branches that finish vote, the others are stopped; a tie goes to the answer of
// the shortest branch (short-m@k, Hassid et al., 2505.17813).
#include <algorithm>

#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class ShortestFirst final : public Controller {
 public:
  explicit ShortestFirst(const Options& options)
      : width_(count_option(options, "width")), count_(count_option(options, "count")) {
    if (count_ > width_) {
      throw ValueError(concat("option 'count' is ", count_, ", more than the width ", width_));
    }
  }

  void on_start(const BranchesView&, Actions& actions) override { actions.start(width_); }

  void on_finish(const BranchesView& view, std::int32_t, Actions& actions) override {
    if (view.num_with(BranchStatus::finished) >= count_)
      actions.stop(kNoAnswer, concat("the first ", count_, " branches have finished"));
  }

  std::vector<Vote> votes(const BranchesView& view) const override {
    std::vector<Vote> votes = Controller::votes(view);
    const auto shortest = [&](AnswerId answer) {
      std::int64_t least = INT64_MAX;
      for (const BranchRecord& branch : view.branches()) {
        if (branch.is_finished() && branch.answer == answer)
          least = std::min(least, branch.num_tokens);
      }
      return least;
    };
    std::stable_sort(votes.begin(), votes.end(), [&](const Vote& a, const Vote& b) {
      if (a.weight != b.weight) return a.weight > b.weight;
      return shortest(a.answer) < shortest(b.answer);
    });
    return votes;
  }

 private:
  std::int64_t width_;
  std::int64_t count_;
};

}  // namespace

std::unique_ptr<Controller> make_shortest_first(const Options& options) {
  return std::make_unique<ShortestFirst>(options);
}

}  // namespace foresight
