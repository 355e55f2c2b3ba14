#include "control/branches.h"

#include <algorithm>
#include <cmath>

namespace foresight {

namespace {

template <typename Weigh>
std::vector<Vote> count_votes(std::span<const BranchRecord> branches, Weigh weigh) {
  std::vector<Vote> votes;
  for (const BranchRecord& branch : branches) {
    const double weight = branch.answer == kNoAnswer ? 0.0 : weigh(branch);
    if (weight <= 0.0) continue;
    const auto known = std::find_if(votes.begin(), votes.end(),
                                    [&](const Vote& vote) { return vote.answer == branch.answer; });
    if (known != votes.end()) {
      known->weight += weight;
    } else {
      votes.push_back({branch.answer, weight});
    }
  }
  std::stable_sort(votes.begin(), votes.end(),
                   [](const Vote& a, const Vote& b) { return a.weight > b.weight; });
  return votes;
}

}  // namespace

const char* name_of(BranchStatus status) {
  switch (status) {
    case BranchStatus::running:
      return "running";
    case BranchStatus::finished:
      return "finished";
    case BranchStatus::pruned:
      return "pruned";
    case BranchStatus::stopped:
      return "stopped";
  }
  return "unknown";
}

std::int32_t BranchesView::num_with(BranchStatus status) const {
  return static_cast<std::int32_t>(
      std::count_if(branches_.begin(), branches_.end(),
                    [&](const BranchRecord& branch) { return branch.status == status; }));
}

std::vector<Vote> BranchesView::finished_votes() const {
  return count_votes(branches_,
                     [](const BranchRecord& branch) { return branch.is_finished() ? 1.0 : 0.0; });
}

std::vector<Vote> BranchesView::current_votes() const {
  return count_votes(branches_, [](const BranchRecord& branch) {
    return branch.status == BranchStatus::pruned ? 0.0 : 1.0;
  });
}

std::vector<Vote> BranchesView::confidence_votes() const {
  return count_votes(branches_, [](const BranchRecord& branch) {
    return branch.is_finished() && !std::isnan(branch.confidence) ? branch.confidence : 0.0;
  });
}

}  // namespace foresight
