#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/error.h"

namespace foresight {
namespace {

constexpr std::uint32_t kNumPatterns = 1u << 16;

// A 16-bit float format taken apart by its definition, in double: what the conversions must give.
struct Format {
  int exponent_bits;
  int mantissa_bits;

  double value_of(std::uint32_t bits) const {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
    const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const double mantissa = bits & ((1u << mantissa_bits) - 1);
    if (exponent == (1 << exponent_bits) - 1) {
      return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                           : sign * std::numeric_limits<double>::infinity();
    }
    if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
  }
  std::uint32_t infinity() const { return ((1u << exponent_bits) - 1) << mantissa_bits; }
};

constexpr Format kF16{5, 10};
constexpr Format kBf16{8, 7};

// Every 16-bit pattern becomes the float that the format defines, and comes back as it was.
void expect_round_trip(const Format& format, float (*widen)(Bits16), Bits16 (*narrow)(float)) {
  for (std::uint32_t bits = 0; bits < kNumPatterns; ++bits) {
    const float wide = widen(static_cast<Bits16>(bits));
    const double expected = format.value_of(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(wide)) << bits;
      ASSERT_TRUE(std::isnan(widen(narrow(wide)))) << bits;
      continue;
    }
    ASSERT_EQ(static_cast<double>(wide), expected) << bits;
    ASSERT_EQ(std::signbit(wide), std::signbit(expected)) << bits;
    ASSERT_EQ(narrow(wide), bits);
  }
}

// Between each pair of neighbours (the one past the largest is infinity, where the next power of
// two would be) the middle goes to the even one, and a hair beside the middle to the nearer one.
void expect_nearest_even(const Format& format, Bits16 (*narrow)(float)) {
  for (std::uint32_t low = 0; low < format.infinity(); ++low) {
    const std::uint32_t high = low + 1;
    const double below = format.value_of(low);
    const double above =
        high == format.infinity() ? 2 * below - format.value_of(low - 1) : format.value_of(high);
    const auto middle = static_cast<float>((below + above) / 2);
    ASSERT_EQ(static_cast<double>(middle), (below + above) / 2) << "the test needs it exact";
    const std::uint32_t even = low % 2 == 0 ? low : high;
    for (std::uint32_t sign : {0u, 0x8000u}) {
      const float factor = sign == 0 ? 1.0f : -1.0f;
      ASSERT_EQ(narrow(factor * middle), sign | even) << low;
      ASSERT_EQ(narrow(factor * std::nextafter(middle, 0.0f)), sign | low) << low;
      ASSERT_EQ(narrow(factor * std::nextafter(middle, std::numeric_limits<float>::infinity())),
                sign | high)
          << low;
    }
  }
}

TEST(DType, HalfRoundTripsExhaustively) { expect_round_trip(kF16, f16_to_float, float_to_f16); }

TEST(DType, BfloatRoundTripsExhaustively) {
  expect_round_trip(kBf16, bf16_to_float, float_to_bf16);
}

TEST(DType, HalfRoundsToNearestEvenExhaustively) { expect_nearest_even(kF16, float_to_f16); }

TEST(DType, BfloatRoundsToNearestEvenExhaustively) { expect_nearest_even(kBf16, float_to_bf16); }

TEST(DType, OverflowIsInfinityAndNanStaysQuiet) {
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(float_to_f16(largest), 0x7c00);
  EXPECT_EQ(float_to_f16(-65520.0f), 0xfc00);
  EXPECT_EQ(float_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_bf16(largest), 0x7f80);
  // A signalling NaN whose payload lies in bits that are cut off must not become infinity.
  const float signalling = std::bit_cast<float>(0x7f800001u);
  EXPECT_EQ(float_to_f16(signalling), 0x7e00);
  EXPECT_EQ(float_to_bf16(signalling), 0x7fc0);
}

TEST(DType, NamesGoBothWays) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    EXPECT_EQ(dtype_from_name(name_of(dtype)), dtype);
  }
  EXPECT_EQ(size_of(DType::f32), 4u);
  EXPECT_EQ(size_of(DType::bf16), 2u);
  EXPECT_EQ(size_of(DType::f16), 2u);
}

TEST(DType, UnknownNameNamesItself) {
  try {
    dtype_from_name("float8");
    FAIL() << "expected a ValueError";
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("\"float8\""), std::string::npos);
  }
}

}  // namespace
}  // namespace foresight
