// exp of every ISA over all magnitudes, in units in the last place.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/tolerances.h"
#include "cpp/ops/op_fixture.h"
#include "ops/readout.h"

namespace foresight::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Exp : public OnEveryIsa {
 protected:
  std::vector<float> exp(const std::vector<float>& x) {
    std::vector<float> out(x.size());
    exp_sum(context(), x.data(), static_cast<std::int64_t>(x.size()), 0.0f, out.data());
    return out;
  }
};

// Distance to the exact value in units of the last place of a float32 of that size.
double ulps(float got, double wanted) {
  const double unit = std::ldexp(1.0, std::max(std::ilogb(wanted) - 23, -149));
  return std::abs(static_cast<double>(got) - wanted) / unit;
}

TEST_P(Exp, IsWithinItsUlps) {
  std::vector<float> x;
  for (double value = -103.9; value < 88.72; value += 0.00137)
    x.push_back(static_cast<float>(value));
  for (float value = 1e-30f; value < 50.0f; value *= 1.01f) {
    x.push_back(value);
    x.push_back(-value);
  }
  const std::vector<float> got = exp(x);
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, ulps(got[i], std::exp(static_cast<double>(x[i]))));
  EXPECT_LE(worst, tolerances::kExpUlps);
}

TEST_P(Exp, Extremes) {
  const std::vector<float> got =
      exp({0.0f, -0.0f, -kInfinity, kInfinity, -104.0f, -1e30f, 88.73f, 1e30f, std::nanf("")});
  EXPECT_EQ(got[0], 1.0f);
  EXPECT_EQ(got[1], 1.0f);
  EXPECT_EQ(got[2], 0.0f);
  EXPECT_EQ(got[3], kInfinity);
  EXPECT_EQ(got[4], 0.0f);
  EXPECT_EQ(got[5], 0.0f);
  EXPECT_EQ(got[6], kInfinity);
  EXPECT_EQ(got[7], kInfinity);
  EXPECT_TRUE(std::isnan(got[8]));
}

TEST_P(Exp, TheTailIsTheBody) {
  std::vector<float> x(67);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.37f * static_cast<float>(i) - 11.0f;
  const auto whole = bits_of(exp(x));
  for (std::size_t size = 1; size < x.size(); ++size) {
    const auto part = bits_of(exp({x.begin(), x.begin() + static_cast<std::ptrdiff_t>(size)}));
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin())) << size;
  }
}

FORESIGHT_ON_EVERY_ISA(Exp);

}  // namespace
}  // namespace foresight::ops
