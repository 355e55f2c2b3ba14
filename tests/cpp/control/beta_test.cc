#include "control/beta.h"

#include <gtest/gtest.h>

#include <cmath>

namespace foresight {
namespace {

// Known values: 1 - I_{1/2}(a + 1, b + 1), computed with rationals (Python's fractions) from
// sum_{j <= a} C(a + b + 1, j) / 2^(a + b + 1).
TEST(BetaTest, KnownValues) {
  EXPECT_DOUBLE_EQ(beta_above_half(0, 0), 0.5);
  EXPECT_DOUBLE_EQ(beta_above_half(1, 0), 0.75);
  EXPECT_DOUBLE_EQ(beta_above_half(3, 0), 0.9375);
  EXPECT_DOUBLE_EQ(beta_above_half(4, 0), 0.96875);
  EXPECT_DOUBLE_EQ(beta_above_half(5, 1), 0.9375);
  EXPECT_DOUBLE_EQ(beta_above_half(2, 5), 0.14453125);
}

TEST(BetaTest, BothOrdersAddUpToOne) {
  for (std::int64_t a = 0; a < 40; ++a) {
    for (std::int64_t b = 0; b < 40; ++b)
      EXPECT_NEAR(beta_above_half(a, b) + beta_above_half(b, a), 1.0, 1e-15);
  }
}

TEST(BetaTest, AgreesWithTheIntegral) {
  // Simpson's rule over the density on [1/2, 1].
  for (const auto& [a, b] : {std::pair{3, 1}, {7, 4}, {20, 12}, {64, 50}}) {
    const double scale =
        std::exp(std::lgamma(a + b + 2.0) - std::lgamma(a + 1.0) - std::lgamma(b + 1.0));
    const auto density = [&, a = a, b = b](double p) {
      return scale * std::pow(p, a) * std::pow(1.0 - p, b);
    };
    constexpr int kSteps = 20000;
    const double width = 0.5 / kSteps;
    double sum = density(0.5) + density(1.0);
    for (int i = 1; i < kSteps; ++i) sum += (i % 2 == 1 ? 4.0 : 2.0) * density(0.5 + i * width);
    EXPECT_NEAR(beta_above_half(a, b), sum * width / 3.0, 1e-9) << a << ' ' << b;
  }
}

TEST(BetaTest, LargeCountsStayInRange) {
  EXPECT_DOUBLE_EQ(beta_above_half(5000, 0), 1.0);
  EXPECT_DOUBLE_EQ(beta_above_half(0, 5000), 0.0);
  EXPECT_NEAR(beta_above_half(3000, 3000), 0.5, 1e-10);
  // The normal approximation: (a - b) / sqrt(a + b) = 1 standard deviation.
  EXPECT_NEAR(beta_above_half(5050, 4950), 0.5 * std::erfc(-1.0 / std::sqrt(2.0)), 1e-3);
}

TEST(BetaTest, VotesAreTheTwoHeaviest) {
  EXPECT_EQ(lead_confidence({}), 0.5);
  const std::vector<Vote> votes = {{3, 5.0}, {1, 1.0}, {2, 1.0}};
  EXPECT_DOUBLE_EQ(lead_confidence(votes), 0.9375);
  EXPECT_DOUBLE_EQ(lead_confidence(std::span(votes).first(1)), 1.0 - std::ldexp(1.0, -6));
}

}  // namespace
}  // namespace foresight
