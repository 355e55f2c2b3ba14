#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "control/controllers.h"
#include "control/replay.h"

namespace foresight {
namespace {

// Branches of random lengths, whose answers are drawn with falling shares.
RecordedQuestion random_question(std::mt19937& random, int width) {
  std::uniform_int_distribution<std::int64_t> length(1, 1000);
  std::geometric_distribution<int> answer(0.55);
  RecordedQuestion question;
  question.label = "random";
  for (int i = 0; i < width; ++i) {
    RecordedBranch branch;
    branch.num_tokens = length(random);
    branch.answer = question.answers.id_of(std::to_string(answer(random)));
    question.branches.push_back(branch);
  }
  return question;
}

ReplayDraw replay_with(const RecordedQuestion& question, const std::string& name,
                       const Options& options) {
  std::vector<std::int32_t> order(question.branches.size());
  std::iota(order.begin(), order.end(), 0);
  return replay(question, order, make_controller(name, options), 0);
}

Options likely_lead(std::int64_t width, double confidence, double caution,
                    std::int64_t min_finished) {
  return {{"width", width},
          {"confidence", confidence},
          {"caution", caution},
          {"min_finished", min_finished}};
}

// P(the lead of `first` over `second` lasts when `against` more vote for the second and `free` more
// vote each like a vote drawn from an urn that holds all before it, one extra for either answer).
double lead_lasts(double first, double second, int against, int free) {
  std::vector<double> chance(static_cast<std::size_t>(free) + 1, 0.0);
  chance[0] = 1.0;
  for (int drawn = 0; drawn < free; ++drawn) {
    std::vector<double> next(chance.size(), 0.0);
    for (int x = 0; x <= drawn; ++x) {
      const double share = (first + x + 1.0) / (first + second + drawn + 2.0);
      next[static_cast<std::size_t>(x) + 1] += chance[static_cast<std::size_t>(x)] * share;
      next[static_cast<std::size_t>(x)] += chance[static_cast<std::size_t>(x)] * (1.0 - share);
    }
    chance = next;
  }
  double lasts = 0.0;
  for (int x = 0; x <= free; ++x) {
    if (first + x > second + against + (free - x)) lasts += chance[static_cast<std::size_t>(x)];
  }
  return lasts;
}

TEST(LikelyLead, StopsWhereAnUrnSaysSo) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const int width = 2 + round % 30;
    const RecordedQuestion question = random_question(random, width);
    const double caution = 0.25 * (round % 5);
    const double confidence = round % 2 == 0 ? 0.9013 : 0.9907;  // no fraction hits it
    std::vector<std::size_t> by_length(question.branches.size());
    std::iota(by_length.begin(), by_length.end(), 0U);
    std::stable_sort(by_length.begin(), by_length.end(), [&](std::size_t a, std::size_t b) {
      return question.branches[a].num_tokens < question.branches[b].num_tokens;
    });
    std::int64_t expected = 0;
    std::vector<double> counts(static_cast<std::size_t>(question.answers.size()), 0.0);
    for (std::size_t finished = 1; finished <= by_length.size(); ++finished) {
      const RecordedBranch& branch = question.branches[by_length[finished - 1]];
      counts[static_cast<std::size_t>(branch.answer)] += 1.0;
      expected = branch.num_tokens;
      if (finished < 3) continue;
      std::vector<double> votes = counts;
      votes.push_back(0.0);
      std::sort(votes.rbegin(), votes.rend());
      const int running = width - static_cast<int>(finished);
      const int against = static_cast<int>(std::ceil(caution * running - 1e-9));
      if (lead_lasts(votes[0], votes[1], against, running - against) >= confidence) break;
    }
    const ReplayDraw draw =
        replay_with(question, "likely_lead", likely_lead(width, confidence, caution, 3));
    EXPECT_EQ(draw.sequential_tokens, expected) << "round " << round;
  }
}

TEST(LikelyLead, FullCautionIsTheLosslessLead) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    const std::int64_t width = 1 + round % 40;
    const RecordedQuestion question = random_question(random, static_cast<int>(width));
    const ReplayDraw cautious =
        replay_with(question, "likely_lead", likely_lead(width, 0.5, 1.0, 1));
    const ReplayDraw lossless = replay_with(question, "lossless_lead", {{"width", width}});
    EXPECT_EQ(cautious.answer, lossless.answer);
    EXPECT_EQ(cautious.sequential_tokens, lossless.sequential_tokens);
    EXPECT_EQ(cautious.total_tokens, lossless.total_tokens);
  }
}

TEST(LikelyLead, ThousandsOfBranchesDoNotUnderflow) {
  RecordedQuestion question;
  question.label = "wide";
  for (int i = 0; i < 6000; ++i) {
    RecordedBranch branch;
    branch.num_tokens = 1000 + i;
    branch.answer = question.answers.id_of("same");
    question.branches.push_back(branch);
  }
  const ReplayDraw draw = replay_with(question, "likely_lead", likely_lead(6000, 0.99, 0.25, 1000));
  // 1000 of one mind and 1250 against: of 3750 more, 2001 are enough. P(none) is below 1e-1000.
  EXPECT_EQ(draw.sequential_tokens, 1000 + 999);
}

TEST(LikelyLead, NamesBadOptions) {
  EXPECT_THROW(make_controller("likely_lead", likely_lead(0, 0.9, 0.5, 4)), ValueError);
  EXPECT_THROW(make_controller("likely_lead", likely_lead(8, 1.0, 0.5, 4)), ValueError);
  EXPECT_THROW(make_controller("likely_lead", likely_lead(8, 0.9, 1.5, 4)), ValueError);
  EXPECT_THROW(make_controller("likely_lead", likely_lead(8, 0.9, -0.5, 4)), ValueError);
}

}  // namespace
}  // namespace foresight
