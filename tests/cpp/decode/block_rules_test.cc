// The rules that choose among the proposals of a block, by hand.
#include "decode/block_rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace foresight {
namespace {

std::vector<Proposal> with(const std::vector<double>& confidences) {
  std::vector<Proposal> proposals;
  for (std::size_t i = 0; i < confidences.size(); ++i) {
    proposals.push_back(
        {static_cast<std::int32_t>(i), static_cast<std::int32_t>(i), confidences[i]});
  }
  sort_by_confidence(proposals);
  return proposals;
}

TEST(BlockRules, QuotasShareTheWindowAndTheRemainderComesFirst) {
  for (std::int64_t length = 1; length < 40; ++length) {
    for (std::int64_t steps = 1; steps < 40; ++steps) {
      std::size_t sum = 0;
      for (std::int64_t step = 0; step < steps; ++step) {
        const std::size_t quota = window_quota(length, steps, step);
        if (step > 0) {
          EXPECT_LE(quota, window_quota(length, steps, step - 1));
        }
        sum += quota;
      }
      EXPECT_EQ(sum, static_cast<std::size_t>(length));
    }
  }
  EXPECT_EQ(window_quota(8, 3, 0), 3u);
  EXPECT_EQ(window_quota(8, 3, 2), 2u);
}

TEST(BlockRules, ThresholdsAreStrictAndHaveAFloor) {
  const auto sorted = with({0.5, 0.9, 0.7, 0.2});
  EXPECT_EQ(count_above(sorted, 0.6, 1), 2u);
  EXPECT_EQ(count_above(sorted, 0.7, 1), 1u);
  EXPECT_EQ(count_above(sorted, 0.95, 1), 1u);
  EXPECT_EQ(count_above(sorted, 0.95, 3), 3u);
  EXPECT_EQ(count_above(sorted, 0.95, 9), 4u);
  EXPECT_EQ(count_above(sorted, 0.0, 1), 4u);
}

TEST(BlockRules, EntropyBoundsLeaveTheLargestOut) {
  const auto sorted = with({-0.1, -0.2, -0.4, -0.8});
  EXPECT_EQ(count_within_entropy(sorted, 0.0, 1), 1u);
  EXPECT_EQ(count_within_entropy(sorted, 0.15, 1), 2u);
  EXPECT_EQ(count_within_entropy(sorted, 0.35, 1), 3u);
  EXPECT_EQ(count_within_entropy(sorted, 0.75, 1), 4u);
  EXPECT_EQ(count_within_entropy(sorted, 0.0, 2), 2u);
  EXPECT_EQ(count_within_entropy(with({0.0, 0.0, -3.0, -3.0}), 0.0, 1), 3u)
      << "what is certain costs nothing";
}

TEST(BlockRules, TorchsTopTakesTheBestAndFillsUpWithTheRest) {
  constexpr double kOut = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(top_as_torch(std::vector<double>{0.1, 0.9, 0.3}, 1), (std::vector<std::size_t>{1}));
  const auto chosen = top_as_torch(std::vector<double>{kOut, 0.9, kOut, kOut}, 3);
  EXPECT_EQ(chosen.size(), 3u);
  EXPECT_NE(std::find(chosen.begin(), chosen.end(), 1u), chosen.end());
  EXPECT_EQ(top_as_torch(std::vector<double>{0.1, 0.2}, 5).size(), 2u);
  EXPECT_TRUE(top_as_torch(std::vector<double>{0.1}, 0).empty());
}

}  // namespace
}  // namespace foresight
