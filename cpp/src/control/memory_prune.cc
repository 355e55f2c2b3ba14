// Another controller, under a limit of cache bytes: while the running branches hold more, the least
// promising one is pruned. That is the one whose answer has the fewest current votes; of these the
// least confident, of these the longest.
#include <algorithm>
#include <cmath>

#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

// Tokens between two looks at the memory, at most; and of a group whose confidence counts, where
// the inner controller does not say.
constexpr std::int64_t kInterval = 32;

// The largest divisor of the inner controller's interval that is at most kInterval.
std::int64_t interval_within(std::int64_t inner) {
  if (inner == 0) return kInterval;
  std::int64_t interval = std::min(inner, kInterval);
  while (inner % interval != 0) --interval;
  return interval;
}

class MemoryPrune final : public Controller {
 public:
  MemoryPrune(const Options& options, std::shared_ptr<Controller> inner)
      : limit_(count_option(options, "kv_cache_bytes")),
        inner_(std::move(inner)),
        inner_interval_(inner_->needs().interval) {}

  Needs needs() const override {
    Needs needs = inner_->all_needs();
    needs.interval = interval_within(inner_interval_);
    needs.cache_bytes = true;
    if (!needs.confidence) needs.confidence_group = kInterval;
    needs.confidence = true;
    return needs;
  }

  void on_start(const BranchesView& view, Actions& actions) override {
    inner_->on_start(view, actions);
  }

  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    inner_->on_probe(view, branch, actions);
    prune(view, actions);
  }

  void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    inner_->on_finish(view, branch, actions);
    prune(view, actions);
  }

  void on_interval(const BranchesView& view, Actions& actions) override {
    passed_ += needs().interval;
    if (inner_interval_ > 0 && passed_ % inner_interval_ == 0) inner_->on_interval(view, actions);
    prune(view, actions);
  }

  std::vector<Vote> votes(const BranchesView& view) const override { return inner_->votes(view); }

 private:
  void prune(const BranchesView& view, Actions& actions) const {
    std::vector<std::int32_t> running;
    std::int64_t bytes = 0;
    for (std::int32_t i = 0; i < view.size(); ++i) {
      if (!view[i].is_running() || names(actions, i)) continue;
      running.push_back(i);
      bytes += view[i].cache_bytes;
    }
    if (bytes <= limit_) return;
    const std::vector<Vote> votes = view.current_votes();
    std::stable_sort(running.begin(), running.end(), [&](std::int32_t a, std::int32_t b) {
      return is_less_promising(view[a], view[b], votes);
    });
    // The last one stays, whatever it holds.
    for (std::size_t i = 0; bytes > limit_ && i + 1 < running.size(); ++i) {
      actions.prune(running[i],
                    concat("the branches hold ", bytes, " bytes of cache, more than ", limit_));
      bytes -= view[running[i]].cache_bytes;
    }
  }

  static bool names(Actions& actions, std::int32_t branch) {
    return std::any_of(actions.list().begin(), actions.list().end(), [&](const Action& action) {
      return action.kind == Action::Kind::prune && action.branch == branch;
    });
  }

  static double support(const BranchRecord& branch, const std::vector<Vote>& votes) {
    for (const Vote& vote : votes) {
      if (vote.answer == branch.answer) return vote.weight;
    }
    return 0.0;
  }

  static bool is_less_promising(const BranchRecord& a, const BranchRecord& b,
                                const std::vector<Vote>& votes) {
    const double support_a = support(a, votes);
    const double support_b = support(b, votes);
    if (support_a != support_b) return support_a < support_b;
    // A confidence that is not known counts as none.
    const double confidence_a = std::isnan(a.confidence) ? -HUGE_VAL : a.confidence;
    const double confidence_b = std::isnan(b.confidence) ? -HUGE_VAL : b.confidence;
    if (confidence_a != confidence_b) return confidence_a < confidence_b;
    return a.num_tokens > b.num_tokens;
  }

  std::int64_t limit_;
  std::shared_ptr<Controller> inner_;
  std::int64_t inner_interval_;
  std::int64_t passed_ = 0;  // tokens, by intervals
};

}  // namespace

std::unique_ptr<Controller> make_memory_prune(const Options& options,
                                              std::shared_ptr<Controller> inner) {
  return std::make_unique<MemoryPrune>(options, std::move(inner));
}

}  // namespace foresight
