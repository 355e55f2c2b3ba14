#include "decode/stride.h"

#include <gtest/gtest.h>

namespace foresight {
namespace {

TEST(Stride, TheBestStrideFollowsAcceptanceAndCost) {
  const StrideCost processor{.exact = true, .row_cost = 0.09};
  EXPECT_EQ(best_stride(0.0, processor), 1);
  EXPECT_EQ(best_stride(0.2, processor), 1);
  EXPECT_EQ(best_stride(0.5, processor), 2);
  EXPECT_EQ(best_stride(1.0, processor), 3);
  const StrideCost free{.exact = true, .row_cost = 0.0};
  EXPECT_EQ(best_stride(0.5, free), 4) << "not longer without a high acceptance";
  EXPECT_EQ(best_stride(0.95, free), 8);
  const StrideCost published{.exact = false, .row_cost = 0.09};
  EXPECT_EQ(best_stride(0.1, published), 1);
  EXPECT_GE(best_stride(1.0, published), 4);
}

TEST(Stride, TheRunningAcceptanceFollowsTheTests) {
  RunningAcceptance running;
  const double first = running.value();
  for (int i = 0; i < 100; ++i) running.note_tested(3, false);
  EXPECT_GT(running.value(), 0.99);
  for (int i = 0; i < 100; ++i) running.note_tested(0, true);
  EXPECT_LT(running.value(), 0.01);
  for (int i = 0; i < 63; ++i) running.note_plain();
  EXPECT_LT(running.value(), 0.01);
  running.note_plain();
  EXPECT_EQ(running.value(), first) << "a new try";
  running.note_tested(0, false);
  EXPECT_EQ(running.value(), first) << "a round without drafts says nothing";
}

}  // namespace
}  // namespace foresight
