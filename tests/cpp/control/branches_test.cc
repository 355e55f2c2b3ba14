#include "control/branches.h"

#include <gtest/gtest.h>

#include <limits>

namespace foresight {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

BranchRecord branch(BranchStatus status, AnswerId answer, double confidence = kUnknown) {
  BranchRecord record;
  record.status = status;
  record.answer = answer;
  record.confidence = confidence;
  return record;
}

std::vector<std::pair<AnswerId, double>> pairs(const std::vector<Vote>& votes) {
  std::vector<std::pair<AnswerId, double>> found;
  for (const Vote& vote : votes) found.emplace_back(vote.answer, vote.weight);
  return found;
}

using Pairs = std::vector<std::pair<AnswerId, double>>;

TEST(BranchesTest, WhoVotes) {
  using enum BranchStatus;
  const std::vector<BranchRecord> branches = {
      branch(running, 5),           branch(finished, 2, 1.5), branch(pruned, 5),
      branch(finished, 7, 4.0),     branch(stopped, 5),       branch(finished, kNoAnswer, 9.0),
      branch(finished, 2, kUnknown)};
  const BranchesView view(branches, 10);
  EXPECT_EQ(pairs(view.finished_votes()), (Pairs{{2, 2.0}, {7, 1.0}}));
  EXPECT_EQ(pairs(view.current_votes()), (Pairs{{5, 2.0}, {2, 2.0}, {7, 1.0}}));
  EXPECT_EQ(pairs(view.confidence_votes()), (Pairs{{7, 4.0}, {2, 1.5}}));
  EXPECT_EQ(view.num_with(finished), 4);
  EXPECT_EQ(view.num_with(pruned), 1);
}

}  // namespace
}  // namespace foresight
