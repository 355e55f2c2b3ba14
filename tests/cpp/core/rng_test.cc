#include "core/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

namespace foresight {
namespace {

// Known answers of Random123 (kat_vectors, philox4x32 10).
TEST(Rng, PhiloxKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (Philox4x32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Philox4x32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Philox4x32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, MixIsNotSymmetricAndSpreads) {
  EXPECT_NE(mix64(1, 2), mix64(2, 1));
  std::set<std::uint64_t> seen;
  for (std::uint64_t a = 0; a < 300; ++a) {
    for (std::uint64_t b = 0; b < 300; ++b) seen.insert(mix64(a, b));
  }
  EXPECT_EQ(seen.size(), 90000u);
}

// A seed gives the same text in every version: these values, from an independent computation of
// SplitMix64 and Philox, are part of that promise.
TEST(Rng, ValuesAreFrozen) {
  EXPECT_EQ(mix64(0, 0), 0x0397ab29740681d9u);
  EXPECT_EQ(mix64(1, 2), 0x6871c08cbe75136cu);
  EXPECT_EQ(prompt_seed(42, 3), 0x0022998ea3d061fcu);
  EXPECT_EQ((RngKey{.seed = 42, .branch = 0}.fork(10, 1).branch), 0x2c2ca5a2614c808cu);
  EXPECT_EQ(uniform({.seed = 42, .branch = 0}, 7, 0), 0x1.71f5397ab6c63p-1);
}

TEST(Rng, UniformIsAFunctionOfAllItsArguments) {
  const RngKey key{.seed = 1, .branch = 2};
  const double value = uniform(key, 3, 4);
  EXPECT_EQ(value, uniform(key, 3, 4));
  EXPECT_NE(value, uniform({.seed = 5, .branch = 2}, 3, 4));
  EXPECT_NE(value, uniform({.seed = 1, .branch = 5}, 3, 4));
  EXPECT_NE(value, uniform(key, 5, 4));
  EXPECT_NE(value, uniform(key, 3 + (std::uint64_t{1} << 32), 4));
  EXPECT_NE(value, uniform(key, 3, 5));
  EXPECT_NE(uniform({.seed = 2, .branch = 1}, 3, 4), value);
}

TEST(Rng, UniformHasTheMomentsOfTheLaw) {
  constexpr int kDraws = 200000;
  constexpr int kBins = 16;
  std::array<int, kBins> histogram{};
  double sum = 0;
  double product = 0;  // of neighbours
  double before = 0.5;
  for (int position = 0; position < kDraws; ++position) {
    const double value =
        uniform({.seed = 11, .branch = 0}, static_cast<std::uint64_t>(position), 0);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ++histogram[static_cast<std::size_t>(value * kBins)];
    sum += value;
    product += (value - 0.5) * (before - 0.5);
    before = value;
  }
  // Five standard deviations each; the draws are fixed, so this never fails by chance later.
  const double draws = kDraws;
  EXPECT_NEAR(sum / draws, 0.5, 5 * std::sqrt(1.0 / 12 / draws));
  EXPECT_NEAR(product / draws, 0.0, 5 * (1.0 / 12) / std::sqrt(draws));
  double chi_squared = 0;
  for (int count : histogram) chi_squared += std::pow(count - draws / kBins, 2) / (draws / kBins);
  EXPECT_LT(chi_squared, 15 + 5 * std::sqrt(30.0));
}

TEST(Rng, UniformUsesFiftyThreeBits) {
  bool low_bit_seen = false;
  for (std::uint64_t position = 0; position < 64; ++position) {
    const double scaled = uniform({}, position, 0) * 0x1p53;
    EXPECT_EQ(scaled, std::floor(scaled));
    low_bit_seen |= std::fmod(scaled, 2.0) == 1.0;
  }
  EXPECT_TRUE(low_bit_seen);
}

TEST(Rng, BranchesForkIntoDistinctKeys) {
  const RngKey root{.seed = 7, .branch = 0};
  std::set<std::uint64_t> branches{root.branch};
  for (std::uint64_t length = 0; length < 50; ++length) {
    for (std::uint64_t ordinal = 0; ordinal < 50; ++ordinal) {
      const RngKey child = root.fork(length, ordinal);
      EXPECT_EQ(child.seed, root.seed);
      EXPECT_EQ(child, root.fork(length, ordinal));
      branches.insert(child.branch);
      branches.insert(child.fork(length, ordinal).branch);
    }
  }
  EXPECT_EQ(branches.size(), 5001u);
}

TEST(Rng, PromptSeedsDiffer) {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t call = 0; call < 100; ++call) {
    for (std::uint64_t index = 0; index < 100; ++index) seeds.insert(prompt_seed(call, index));
  }
  EXPECT_EQ(seeds.size(), 10000u);
}

}  // namespace
}  // namespace foresight
