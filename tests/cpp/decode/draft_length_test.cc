#include "decode/draft_length.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace foresight {
namespace {

// A forward of n rows costs 100 + 10 (n - 1).
DraftCost linear_cost(double per_token = 0.0, double per_round = 0.0) {
  return DraftCost({100, 110}, per_token, per_round);
}

DraftLength after(std::int64_t tests, double rate) {
  DraftLength length;
  double accepted = 0.0;
  for (std::int64_t i = 0; i < tests; ++i) {
    accepted += rate;
    const bool right = accepted >= 1.0;
    if (right) accepted -= 1.0;
    length.note_tested(1, right ? 1 : 0);
  }
  return length;
}

TEST(DraftCost, ExtrapolatesAndAddsTheDraftersShare) {
  const DraftCost cost = linear_cost(0.25, 0.5);
  EXPECT_DOUBLE_EQ(cost.of(0, 1), 1.0);
  EXPECT_DOUBLE_EQ(cost.of(4, 1), 1.4 + 0.5 + 1.0);
  EXPECT_DOUBLE_EQ(cost.of(1, 8), (100.0 + 150.0) / (100.0 + 70.0) + 0.75);
  EXPECT_THROW(DraftCost({100}, 0.0, 0.0), ValueError);
  EXPECT_THROW(DraftCost({100, 0}, 0.0, 0.0), ValueError);
}

TEST(DraftLength, TakesWhatIsFastest) {
  const DraftCost cost = linear_cost();
  for (const double rate : {0.1, 0.5, 0.8, 0.95}) {
    const DraftLength length = after(200, rate);
    EXPECT_NEAR(length.acceptance(), rate, 0.12);
    DraftPace pace;
    const std::int64_t chosen = length.choose(16, cost, 1, &pace);
    const double alpha = length.acceptance();
    double best = 0.0;
    std::int64_t wanted = 0;
    for (std::int64_t n = 0; n <= 16; ++n) {
      const double tokens = (1.0 - std::pow(alpha, static_cast<double>(n + 1))) / (1.0 - alpha);
      const double speed = tokens / cost.of(n, 1);
      if (speed > best + 1e-12) {
        best = speed;
        wanted = n;
      }
    }
    EXPECT_EQ(chosen, wanted) << rate;
    EXPECT_NEAR(pace.speed, best, 1e-12);
    EXPECT_EQ(pace.acceptance, alpha);
  }
}

TEST(DraftLength, WantsFewerGuessesWhereRowsAreDear) {
  const DraftLength length = after(100, 0.8);
  const DraftCost cost({100, 101, 102, 103, 104, 105, 106, 107, 207, 307}, 0.0, 0.0);
  EXPECT_GE(length.choose(7, cost, 1), 6);
  EXPECT_LE(length.choose(7, cost, 8), 2) << "eight sequences fill the cheap rows already";
}

TEST(DraftLength, GivesUpOnAHopelessDrafterForLongerAndLonger) {
  const DraftCost cost = linear_cost();
  DraftLength length;
  double wasted = 0.0;
  constexpr int kTokens = 2000;
  for (int i = 0; i < kTokens; ++i) {
    const std::int64_t wanted = length.choose(7, cost, 1);
    wasted += cost.of(wanted, 1) - 1.0;
    if (wanted == 0) {
      length.note_plain();
    } else {
      length.note_tested(wanted, 0);
    }
  }
  EXPECT_LT(wasted / kTokens, 0.01) << "a forward of one row each";
}

TEST(DraftLength, DoesNotTryWhereEvenRightGuessesWouldNotPay) {
  const auto tries = [](const DraftCost& cost) {
    DraftLength length;
    std::int64_t count = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::int64_t wanted = length.choose(7, cost, 1);
      count += wanted;
      if (wanted == 0) {
        length.note_plain();
      } else {
        length.note_tested(wanted, wanted);
      }
    }
    return count;
  };
  // Two tokens of one forward for 2.1, and for 1.9, of a forward with one row.
  EXPECT_EQ(tries(DraftCost({100, 210}, 0.0, 0.0)), 0);
  EXPECT_GT(tries(DraftCost({100, 190}, 0.0, 0.0)), 100);
}

TEST(DraftLength, ComesBackWhenGuessesAreRightAgain) {
  const DraftCost cost = linear_cost();
  DraftLength length = after(100, 0.0);
  int right = 0;
  int tokens = 0;
  for (; tokens < 200 && right < 20; ++tokens) {
    const std::int64_t wanted = length.choose(7, cost, 1);
    if (wanted == 0) {
      length.note_plain();
    } else {
      length.note_tested(wanted, wanted);
      right += static_cast<int>(wanted);
    }
  }
  EXPECT_LT(tokens, 200);
}

TEST(DraftLength, NothingTestedChangesNothing) {
  DraftLength length;
  length.note_tested(0, 0);
  EXPECT_EQ(length.acceptance(), DraftLength().acceptance());
}

}  // namespace
}  // namespace foresight
