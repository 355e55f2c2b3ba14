#include "model/blocks/rope_table.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "cpp/model/random_model.h"

namespace foresight {
namespace {

struct Angles {
  std::vector<float> cos;
  std::vector<float> sin;
  bool operator==(const Angles&) const = default;
};

Angles gather(RopeTable& table, std::int32_t position, std::int64_t rope_length = 0) {
  const auto half = static_cast<std::size_t>(table.half_dim());
  Angles angles{std::vector<float>(half), std::vector<float>(half)};
  table.gather(position, rope_length, angles.cos.data(), angles.sin.data());
  return angles;
}

RopeConfig dynamic_rope(std::int64_t original_length) {
  RopeConfig rope = model_test::tiny_rope(8);
  rope.dynamic = true;
  rope.factor = 2.0;
  rope.original_length = original_length;
  return rope;
}

TEST(RopeTable, HoldsCosAndSinOfPositionTimesFrequency) {
  RopeConfig config = model_test::tiny_rope(8);
  config.attention_factor = 1.25f;
  RopeTable table(config);
  ASSERT_EQ(table.half_dim(), 4);
  for (const std::int32_t position : {0, 1000, 3, 99, 100, 5000, 1}) {
    const Angles angles = gather(table, position);
    for (std::size_t d = 0; d < 4; ++d) {
      const double angle =
          static_cast<double>(static_cast<float>(position) * config.inverse_frequencies[d]);
      EXPECT_NEAR(angles.cos[d], 1.25 * std::cos(angle), 1e-6) << position;
      EXPECT_NEAR(angles.sin[d], 1.25 * std::sin(angle), 1e-6) << position;
    }
  }
}

TEST(RopeTable, DoesNotDependOnTheOrderOfPositions) {
  RopeTable up(model_test::tiny_rope(16));
  RopeTable down(model_test::tiny_rope(16));
  std::vector<Angles> wanted;
  for (std::int32_t position = 0; position < 300; ++position)
    wanted.push_back(gather(up, position));
  for (std::int32_t position = 299; position >= 0; --position) {
    EXPECT_EQ(gather(down, position), wanted[static_cast<std::size_t>(position)]);
  }
}

TEST(RopeTable, LengthsMatterOnlyToDynamicScaling) {
  RopeTable table(model_test::tiny_rope(8));
  EXPECT_EQ(gather(table, 7, 10), gather(table, 7, 100000));
}

TEST(RopeTable, DynamicScalingIsOffUpToTheOriginalLength) {
  RopeTable plain(model_test::tiny_rope(8));
  RopeTable scaled(dynamic_rope(32));
  for (const std::int64_t length : {0, 1, 32}) {
    EXPECT_EQ(gather(scaled, 20, length), gather(plain, 20));
  }
  EXPECT_NE(gather(scaled, 20, 33), gather(plain, 20));
}

TEST(RopeTable, DynamicScalingRaisesTheBaseWithTheLength) {
  const RopeConfig config = dynamic_rope(32);
  RopeTable table(config);
  for (const std::int64_t length : {33, 64, 100}) {
    const double ratio = 2.0 * static_cast<double>(length) / 32.0 - 1.0;
    const double base = config.theta * std::pow(ratio, 8.0 / 6.0);
    for (const std::int32_t position : {1, 17, 90}) {
      const Angles angles = gather(table, position, length);
      for (std::size_t d = 0; d < 4; ++d) {
        const double frequency = 1.0 / std::pow(base, 2.0 * static_cast<double>(d) / 8.0);
        EXPECT_NEAR(angles.cos[d], std::cos(position * frequency), 2e-5);
        EXPECT_NEAR(angles.sin[d], std::sin(position * frequency), 2e-5);
      }
    }
  }
}

TEST(RopeTable, ManyLengthsDoNotDisturbEachOther) {
  RopeTable table(dynamic_rope(32));
  std::vector<Angles> wanted;
  for (std::int64_t length = 33; length < 233; ++length) {
    RopeTable fresh(dynamic_rope(32));
    wanted.push_back(gather(fresh, 30, length));
    EXPECT_EQ(gather(table, 30, length), wanted.back());
  }
  for (std::int64_t length = 33; length < 233; ++length) {
    EXPECT_EQ(gather(table, 30, length), wanted[static_cast<std::size_t>(length - 33)]);
  }
}

TEST(RopeTable, RefusesNegativePositions) {
  RopeTable table(model_test::tiny_rope(8));
  EXPECT_THROW(gather(table, -1), InternalError);
}

}  // namespace
}  // namespace foresight
