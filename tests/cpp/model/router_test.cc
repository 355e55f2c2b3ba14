// Which experts a row goes to, against plain enumeration.
#include "model/blocks/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace foresight {
namespace {

std::vector<RoutedExpert> routed(const ExpertsConfig& config, const std::vector<float>& logits,
                                 const std::vector<float>& bias = {}) {
  RouterScratch scratch;
  std::vector<RoutedExpert> out;
  route(config, logits, bias, scratch, out);
  return out;
}

std::vector<std::int32_t> experts_of(const std::vector<RoutedExpert>& routed) {
  std::vector<std::int32_t> experts;
  for (const RoutedExpert& each : routed) experts.push_back(each.expert);
  return experts;
}

using Experts = std::vector<std::int32_t>;

TEST(Router, SoftmaxWeightsOfTheBest) {
  const ExpertsConfig config{.num_experts = 4, .experts_per_token = 2};
  const auto found = routed(config, {1.0f, 3.0f, -1.0f, 2.0f});
  ASSERT_EQ(experts_of(found), (Experts{1, 3}));
  const double sum = std::exp(1.0) + std::exp(3.0) + std::exp(-1.0) + std::exp(2.0);
  EXPECT_NEAR(found[0].weight, std::exp(3.0) / sum, 1e-6);
  EXPECT_NEAR(found[1].weight, std::exp(2.0) / sum, 1e-6);
}

TEST(Router, NormalisedWeightsSumToTheScale) {
  const ExpertsConfig config{
      .num_experts = 4, .experts_per_token = 3, .sigmoid = true, .normalize = true, .scale = 2.5f};
  const auto found = routed(config, {1.0f, 3.0f, -1.0f, 2.0f});
  ASSERT_EQ(experts_of(found), (Experts{0, 1, 3}));
  EXPECT_NEAR(found[0].weight + found[1].weight + found[2].weight, 2.5, 1e-6);
  EXPECT_NEAR(found[1].weight / found[0].weight, (1 + std::exp(-1.0)) / (1 + std::exp(-3.0)), 1e-6);
}

TEST(Router, TheBiasChoosesAndDoesNotWeigh) {
  const ExpertsConfig config{.num_experts = 3, .experts_per_token = 1, .sigmoid = true};
  const auto found = routed(config, {2.0f, 0.0f, 1.0f}, {0.0f, 1.0f, 0.0f});
  ASSERT_EQ(experts_of(found), (Experts{1}));
  EXPECT_FLOAT_EQ(found[0].weight, 0.5f);
}

TEST(Router, OnlyTheBestGroupsAreLookedAt) {
  const ExpertsConfig config{
      .num_experts = 6, .experts_per_token = 2, .sigmoid = true, .num_groups = 3, .top_groups = 1};
  // The best expert is in the first group, but the third group's two are better together.
  EXPECT_EQ(experts_of(routed(config, {3.0f, -9.0f, 0.0f, 0.0f, 1.0f, 1.0f})), (Experts{4, 5}));
  const ExpertsConfig two{
      .num_experts = 6, .experts_per_token = 2, .sigmoid = true, .num_groups = 3, .top_groups = 2};
  EXPECT_EQ(experts_of(routed(two, {3.0f, -9.0f, 0.0f, -1.0f, 1.0f, 1.0f})), (Experts{0, 4}));
}

TEST(Router, TiesGoToTheLowerIndex) {
  const ExpertsConfig config{.num_experts = 5, .experts_per_token = 2};
  EXPECT_EQ(experts_of(routed(config, {1.0f, 1.0f, 1.0f, 1.0f, 1.0f})), (Experts{0, 1}));
}

TEST(Router, NumbersThatAreNoneStillChoose) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const bool sigmoid : {false, true}) {
    for (const std::int64_t groups : {1, 2}) {
      const ExpertsConfig config{.num_experts = 4,
                                 .experts_per_token = 2,
                                 .sigmoid = sigmoid,
                                 .num_groups = groups,
                                 .top_groups = groups};
      EXPECT_EQ(routed(config, {nan, nan, nan, nan}).size(), 2u);
      EXPECT_EQ(routed(config, {infinity, -infinity, nan, 1.0f}).size(), 2u);
    }
  }
}

}  // namespace
}  // namespace foresight
