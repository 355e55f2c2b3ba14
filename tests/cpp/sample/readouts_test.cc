#include "sample/readouts.h"

#include <algorithm>

#include "core/error.h"
#include "cpp/sample/support.h"

namespace foresight {
namespace {

using sample_test::kInf;
using sample_test::kNan;
using sample_test::random_scores;
using sample_test::softmax;

class Readouts : public sample_test::EveryIsa {
 protected:
  RowReadout answer(const Ask& ask, const std::vector<float>& raw,
                    const std::vector<float>& processed, const ReadoutOptions& options = {}) const {
    RowReadout out;
    answer_ask(context_, ask, options, {raw, raw, processed}, RngKey{7, 0}, 3, out);
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Isa, Readouts, testing::ValuesIn(supported_isas()), sample_test::isa_name);

Ask ask_for(AskKind kind) {
  Ask ask;
  ask.kind = kind;
  return ask;
}

TEST_P(Readouts, LogSumExpIsThatOfFloat64) {
  for (const std::size_t size : {1u, 3u, 17u, 1000u, 151936u}) {
    const std::vector<float> scores = random_scores(size, 4.0f, 1);
    double sum = 0.0;
    for (const float score : scores) sum += std::exp(static_cast<double>(score));
    EXPECT_NEAR(log_sum_exp(context_, scores), std::log(sum), 1e-6) << size;
  }
  EXPECT_NEAR(log_sum_exp(context_, std::vector<float>{1e30f, -1e30f, -kInf}), 1e30, 1e23);
}

TEST_P(Readouts, RowsWithoutADistributionSaySo) {
  for (const std::size_t size : {40u, 4000u}) {
    const std::vector<float> forbidden(size, -kInf);
    const std::vector<float> nan(size, kNan);
    std::vector<float> one_nan(size, 1.0f);
    one_nan[33] = kNan;
    std::vector<float> infinite(size, 1.0f);
    infinite[5] = kInf;
    for (const auto& row : {forbidden, nan, one_nan, infinite}) {
      EXPECT_THROW(log_sum_exp(context_, row), ValueError);
      EXPECT_THROW(sample_token(context_, row, 0.5), ValueError);
      EXPECT_THROW(answer(ask_for(AskKind::confidence), row, row), ValueError);
    }
    EXPECT_THROW(answer(ask_for(AskKind::argmax), nan, forbidden), ValueError);
    EXPECT_THROW(answer(ask_for(AskKind::argmax), nan, nan), ValueError);
    EXPECT_EQ(answer(ask_for(AskKind::argmax), one_nan, one_nan).token, 0);
  }
}

TEST_P(Readouts, GuidanceIsThatOfFloat64) {
  for (const float scale : {0.0f, 0.5f, 1.0f, 3.0f, -1.0f}) {
    std::vector<float> scores = random_scores(999, 3.0f, 2);
    const std::vector<float> other = random_scores(999, 3.0f, 3);
    const std::vector<double> p = softmax(scores);
    const std::vector<double> q = softmax(other);
    combine_guidance(context_, scores, other, scale);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double expected = std::log(q[i]) + scale * (std::log(p[i]) - std::log(q[i]));
      ASSERT_NEAR(scores[i], expected, 1e-6 * (1.0 + std::fabs(expected))) << scale;
    }
  }
  std::vector<float> scores = {1.0f, -kInf, 2.0f};
  combine_guidance(context_, scores, std::vector<float>{-kInf, 1.0f, 2.0f}, 2.0f);
  EXPECT_EQ(scores[0], -kInf);
  EXPECT_EQ(scores[1], -kInf);
  EXPECT_TRUE(std::isfinite(scores[2]));
}

TEST_P(Readouts, DrawsFollowTheCumulatedDistribution) {
  std::vector<float> scores = random_scores(5000, 2.0f, 4);
  for (std::size_t i = 0; i < scores.size(); i += 3) scores[i] = -kInf;
  const std::vector<double> p = softmax(scores);
  double before = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    // The middle of each interval that float32 weights cannot move away from.
    if (p[i] > 1e-6) {
      ASSERT_EQ(sample_token(context_, scores, before + p[i] / 2), static_cast<Token>(i));
    }
    before += p[i];
  }
}

TEST_P(Readouts, ForbiddenTokensAreNeverDrawn) {
  const double last = std::nextafter(1.0, 0.0);
  for (const std::size_t size : {1u, 5u, 2048u, 2049u, 9000u}) {
    for (const std::size_t only : {std::size_t{0}, size / 2, size - 1}) {
      std::vector<float> scores(size, -kInf);
      scores[only] = -3.0f;
      for (const double uniform : {0.0, 0.3, last}) {
        ASSERT_EQ(sample_token(context_, scores, uniform), static_cast<Token>(only));
      }
    }
    // Forbidden at both ends.
    std::vector<float> scores = random_scores(size + 2, 1.0f, 8);
    scores.front() = scores.back() = -kInf;
    EXPECT_EQ(sample_token(context_, scores, 0.0), 1);
    EXPECT_EQ(sample_token(context_, scores, last), static_cast<Token>(size));
  }
}

TEST_P(Readouts, DrawsOfManyPositionsFollowTheLaw) {
  const std::vector<float> scores = random_scores(20, 1.0f, 9);
  const std::vector<double> p = softmax(scores);
  std::vector<int> counts(scores.size());
  ReadoutOptions options;
  options.do_sample = true;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    RowReadout out;
    answer_ask(context_, ask_for(AskKind::sample), options, {scores, scores, scores}, RngKey{11, 0},
               static_cast<std::uint64_t>(i), out);
    ++counts[static_cast<std::size_t>(out.token)];
  }
  double statistic = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double mean = p[i] * kDraws;
    statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  EXPECT_LT(statistic, 52.4);  // chi-square with 19 degrees of freedom: p > 6e-5
}

TEST_P(Readouts, TheDrawNumberAndThePositionEnterTheDraw) {
  const std::vector<float> flat(1000, 0.0f);
  ReadoutOptions options;
  options.do_sample = true;
  Ask ask = ask_for(AskKind::sample);
  const RowReadout first = answer(ask, flat, flat, options);
  EXPECT_EQ(answer(ask, flat, flat, options).token, first.token);
  EXPECT_EQ(sample_token(context_, flat, uniform(RngKey{7, 0}, 3, 0)), first.token);
  ask.draw = 1;
  EXPECT_EQ(answer(ask, flat, flat, options).token,
            sample_token(context_, flat, uniform(RngKey{7, 0}, 3, 1)));
  EXPECT_EQ(answer(ask, flat, flat).token, 0) << "without do_sample it is the argmax";
}

TEST_P(Readouts, ArgmaxGivesTheLowestTokenOfTies) {
  const std::vector<float> scores = {1, 5, kNan, 5, -kInf};
  EXPECT_EQ(answer(ask_for(AskKind::argmax), scores, scores).token, 1);
}

TEST_P(Readouts, TopKIsSortedAndSkipsForbiddenTokens) {
  const std::vector<float> processed = {2, -kInf, 3, 2, 1};
  const std::vector<double> p = softmax(processed);
  Ask ask = ask_for(AskKind::top_k);
  ask.k = 3;
  const RowReadout out = answer(ask, processed, processed);
  ASSERT_EQ(out.top.size(), 3u);
  EXPECT_EQ(out.top[0].token, 2);
  EXPECT_EQ(out.top[1].token, 0);
  EXPECT_EQ(out.top[2].token, 3);
  EXPECT_NEAR(out.top[0].logprob, std::log(p[2]), 1e-6);
  ask.k = 9;
  EXPECT_EQ(answer(ask, processed, processed).top.size(), 4u);
  ask.k = 0;
  EXPECT_THROW(answer(ask, processed, processed), ValueError);
}

TEST_P(Readouts, TopKEqualsAFullSort) {
  std::vector<float> scores = random_scores(20000, 1.0f, 10);
  for (float& score : scores) score = std::round(score * 100.0f) / 100.0f;
  std::vector<Token> order(scores.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Token>(i);
  const auto score_of = [&](Token token) { return scores[static_cast<std::size_t>(token)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](Token a, Token b) { return score_of(a) > score_of(b); });
  for (const std::int32_t k : {1, 5, 300, 19999, 20000}) {
    Ask ask = ask_for(AskKind::top_k);
    ask.k = k;
    const RowReadout out = answer(ask, scores, scores);
    ASSERT_EQ(out.top.size(), static_cast<std::size_t>(k));
    for (std::size_t i = 0; i < out.top.size(); ++i) ASSERT_EQ(out.top[i].token, order[i]) << k;
  }
}

TEST_P(Readouts, ConfidenceIsThatOfFloat64) {
  for (const float scale : {0.01f, 1.0f, 6.0f, 30.0f}) {
    std::vector<float> scores = random_scores(3000, scale, 11);
    scores[5] = -kInf;
    std::vector<double> p = softmax(scores);
    double entropy = 0.0;
    for (const double value : p) entropy -= value > 0.0 ? value * std::log(value) : 0.0;
    const RowReadout out = answer(ask_for(AskKind::confidence), scores, scores);
    const auto best = std::max_element(p.begin(), p.end());
    EXPECT_EQ(out.token, static_cast<Token>(best - p.begin()));
    EXPECT_NEAR(out.max_prob, *best, 1e-6);
    std::sort(p.begin(), p.end(), std::greater<>());
    EXPECT_NEAR(out.margin, p[0] - p[1], 1e-6);
    EXPECT_NEAR(out.entropy, entropy, 1e-5 * (1.0 + entropy)) << scale;
  }
  const std::vector<float> certain = {-kInf, 2.0f, -kInf};
  const RowReadout out = answer(ask_for(AskKind::confidence), certain, certain);
  EXPECT_EQ(out.max_prob, 1.0f);
  EXPECT_EQ(out.margin, 1.0f);
  EXPECT_EQ(out.entropy, 0.0f);
}

TEST_P(Readouts, ProbabilityOfATokenIsRaw) {
  const std::vector<float> raw = {0.5f, 1.0f, 1.0f, -1.0f};
  const std::vector<float> processed = {-kInf, -kInf, 0.0f, -kInf};
  const std::vector<double> p = softmax(raw);
  Ask ask = ask_for(AskKind::prob_of);
  for (Token token = 0; token < 4; ++token) {
    ask.token = token;
    const RowReadout out = answer(ask, raw, processed);
    EXPECT_EQ(out.token, token);
    EXPECT_NEAR(out.raw_logprob, std::log(p[static_cast<std::size_t>(token)]), 1e-6);
    EXPECT_EQ(out.is_argmax, token == 1);
    EXPECT_NEAR(out.max_prob, p[1], 1e-6);
  }
  for (const Token token : {-1, 4}) {
    ask.token = token;
    EXPECT_THROW(answer(ask, raw, processed), ValueError);
  }
}

TEST_P(Readouts, LogprobsOfTheEmittedToken) {
  const std::vector<float> raw = {0.0f, 1.0f, 2.0f};
  const std::vector<float> processed = {3.0f, 1.0f, -kInf};
  ReadoutOptions options;
  options.logprobs = true;
  options.top_logprobs = 5;
  for (const AskKind kind : {AskKind::argmax, AskKind::sample, AskKind::confidence}) {
    const RowReadout out = answer(ask_for(kind), raw, processed, options);
    EXPECT_EQ(out.token, 0);
    EXPECT_NEAR(out.logprob, std::log(softmax(processed)[0]), 1e-6);
    EXPECT_NEAR(out.raw_logprob, std::log(softmax(raw)[0]), 1e-6);
    EXPECT_EQ(out.top.size(), 2u);
    EXPECT_TRUE(answer(ask_for(kind), raw, processed).top.empty());
  }
}

TEST_P(Readouts, LogitsAreCopied) {
  const std::vector<float> raw = {0.0f, 1.0f, 2.0f};
  const std::vector<float> processed = {0.0f, 0.0f, 0.0f};
  EXPECT_EQ(answer(ask_for(AskKind::logits), raw, processed).logits, raw);
  EXPECT_TRUE(answer(ask_for(AskKind::none), raw, processed).logits.empty());
}

}  // namespace
}  // namespace foresight
