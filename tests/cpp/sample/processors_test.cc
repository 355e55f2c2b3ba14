#include "sample/processors.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "cpp/sample/support.h"

namespace foresight {
namespace {

using sample_test::kInf;
using sample_test::kNan;

class Processors : public sample_test::EveryIsa {
 protected:
  std::vector<float> process(const SamplingParams& params, std::vector<float> scores,
                             const std::vector<Token>& tokens = {1}, std::int64_t prompt_length = 1,
                             ProcessorList user = {}) const {
    const auto vocab_size = static_cast<std::int64_t>(scores.size());
    const ProcessorList chain = make_processors(context_, params, vocab_size, std::move(user));
    apply(chain, {tokens, prompt_length}, scores);
    return scores;
  }

  std::string error_of(const SamplingParams& params) const {
    try {
      make_processors(context_, params, 10, {});
    } catch (const ValueError& error) {
      return error.what();
    }
    return "no error";
  }
};

INSTANTIATE_TEST_SUITE_P(Isa, Processors, testing::ValuesIn(supported_isas()),
                         sample_test::isa_name);

SamplingParams sampling() {
  SamplingParams params;
  params.do_sample = true;
  return params;
}

// Each warper alone, with a value that acts.
std::vector<SamplingParams> every_warper() {
  std::vector<SamplingParams> all(8, sampling());
  all[0].temperature = 0.5;
  all[1].top_h = 0.5;
  all[2].top_k = 3;
  all[3].top_p = 0.5;
  all[4].min_p = 0.2;
  all[5].typical_p = 0.5;
  all[6].epsilon_cutoff = 0.1;
  all[7].eta_cutoff = 0.1;
  return all;
}

std::vector<Token> allowed(const std::vector<float>& scores) {
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != -kInf) tokens.push_back(static_cast<Token>(i));
  }
  return tokens;
}

TEST_P(Processors, NeutralParametersMakeNoProcessor) {
  EXPECT_TRUE(make_processors(context_, {}, 10, {}).empty());
  EXPECT_TRUE(make_processors(context_, sampling(), 10, {}).empty());
}

TEST_P(Processors, WarpersActOnlyWhenSampling) {
  for (SamplingParams params : every_warper()) {
    EXPECT_EQ(make_processors(context_, params, 10, {}).size(), 1u);
    params.do_sample = false;
    EXPECT_TRUE(make_processors(context_, params, 10, {}).empty());
  }
}

TEST_P(Processors, RowsWithoutADistributionPassUnchanged) {
  const std::vector<std::vector<float>> rows = {{-kInf, -kInf, -kInf, -kInf, -kInf},
                                                {kNan, kNan, kNan, kNan, kNan},
                                                {1, kNan, 2, 3, 4},
                                                {1, kInf, 2, 3, 4}};
  std::vector<SamplingParams> all = every_warper();
  all.erase(all.begin(), all.begin() + 1);  // temperature
  all.erase(all.begin() + 1);               // top_k orders scores and needs no distribution
  all.emplace_back().renormalize_logits = true;
  for (const auto& row : rows) {
    for (const SamplingParams& params : all) {
      const std::vector<float> processed = process(params, row);
      for (std::size_t i = 0; i < row.size(); ++i) {
        EXPECT_TRUE(processed[i] == row[i] || (std::isnan(processed[i]) && std::isnan(row[i])));
      }
    }
  }
}

TEST_P(Processors, EveryWarperKeepsTheBestToken) {
  SamplingParams strict = sampling();
  strict.top_h = 1e-9;
  strict.top_k = 1;
  strict.top_p = 0.0;
  strict.min_p = 1.0;
  strict.typical_p = 1e-300;
  strict.epsilon_cutoff = 0.999;
  strict.eta_cutoff = 0.999;
  EXPECT_EQ(allowed(process(strict, {0.0f, 1.0f, 5.0f, 2.0f})), std::vector<Token>{2});
  EXPECT_EQ(allowed(process(strict, {3.0f})), std::vector<Token>{0});
}

TEST_P(Processors, TopKKeepsTiesWithTheLast) {
  SamplingParams params = sampling();
  params.top_k = 2;
  EXPECT_EQ(allowed(process(params, {1, 3, 2, 2, 0, 2})), (std::vector<Token>{1, 2, 3, 5}));
  EXPECT_EQ(allowed(process(params, {1, kNan, 2, 3, 0})), (std::vector<Token>{1, 2, 3}))
      << "NaN is never hidden, and never among the k";
  EXPECT_EQ(allowed(process(params, {-kInf, 3, -kInf})), std::vector<Token>{1});
}

TEST_P(Processors, TopKEqualsAFullSort) {
  for (const std::int32_t k : {1, 7, 64, 1000, 9999, 10000, 20000}) {
    std::vector<float> scores = sample_test::random_scores(10000, 2.0f, 5);
    for (float& score : scores) score = std::round(score * 50.0f) / 50.0f;  // many ties
    std::vector<float> sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const float last = sorted[static_cast<std::size_t>(std::min(k, 10000) - 1)];
    SamplingParams params = sampling();
    params.top_k = k;
    const std::vector<float> processed = process(params, scores);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      ASSERT_EQ(processed[i], scores[i] < last ? -kInf : scores[i]) << "k " << k << " token " << i;
    }
  }
}

TEST_P(Processors, TopPEqualsAFullSort) {
  for (const float scale : {0.0f, 0.1f, 2.0f, 8.0f}) {
    for (const double top_p : {0.013, 0.37, 0.91, 0.99999}) {
      const std::vector<float> scores = sample_test::random_scores(5000, scale, 6);
      const std::vector<double> probabilities = sample_test::softmax(scores);
      std::vector<std::size_t> order(scores.size());
      std::iota(order.begin(), order.end(), 0u);
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b] : a > b;
      });
      SamplingParams params = sampling();
      params.top_p = top_p;
      const std::vector<float> processed = process(params, scores);
      double above = 0.0;
      for (const std::size_t token : order) {
        // Within 1e-6 of the border the two ways of adding may disagree.
        if (std::fabs(above - top_p) > 1e-6) {
          ASSERT_EQ(processed[token] != -kInf, above < top_p) << scale << " " << top_p;
        }
        above += probabilities[token];
      }
    }
  }
}

TEST_P(Processors, TypicalEqualsAFullSort) {
  for (const float scale : {0.1f, 2.0f, 8.0f}) {
    for (const double mass : {0.013, 0.37, 0.91, 0.999}) {
      const std::vector<float> scores = sample_test::random_scores(5000, scale, 7);
      const std::vector<double> probabilities = sample_test::softmax(scores);
      double entropy = 0.0;
      for (const double p : probabilities) entropy -= p > 0.0 ? p * std::log(p) : 0.0;
      std::vector<std::size_t> order(scores.size());
      std::iota(order.begin(), order.end(), 0u);
      const auto distance = [&](std::size_t i) {
        return std::fabs(-std::log(probabilities[i]) - entropy);
      };
      std::sort(order.begin(), order.end(),
                [&](std::size_t a, std::size_t b) { return distance(a) < distance(b); });
      SamplingParams params = sampling();
      params.typical_p = mass;
      const std::vector<float> processed = process(params, scores);
      double before = 0.0;
      std::size_t wrong = 0;
      for (const std::size_t token : order) {
        wrong += (processed[token] != -kInf) != (before < mass);
        before += probabilities[token];
      }
      EXPECT_LE(wrong, 1u) << scale << " " << mass;  // the border may shift by one in float32
    }
  }
}

TEST_P(Processors, TopHOfOneKeepsAllThatItConsiders) {
  SamplingParams params = sampling();
  params.top_h = 1.0;
  EXPECT_EQ(allowed(process(params, sample_test::random_scores(300, 1.0f, 3))).size(), 100u);
}

TEST_P(Processors, ForcedTokensOverrideTheRest) {
  SamplingParams params;
  params.forced_bos_token_id = 4;
  EXPECT_EQ(allowed(process(params, {9, 9, 9, 9, 0}, {1}, 1)), std::vector<Token>{4});
  EXPECT_EQ(allowed(process(params, {9, 9, 9, 9, 0}, {1, 4}, 1)).size(), 5u);
  params = {};
  params.forced_eos_token_id = {0, 3};
  params.max_length = 4;
  EXPECT_EQ(process(params, {9, 9, 9, 9, 0}, {1, 1, 1}, 1),
            (std::vector<float>{0, -kInf, -kInf, 0, -kInf}));
  EXPECT_EQ(allowed(process(params, {9, 9, 9, 9, 0}, {1, 1}, 1)).size(), 5u);
}

TEST_P(Processors, ALongExponentialDecayStaysFinite) {
  SamplingParams params;
  params.exponential_decay_length_penalty = {0, 2.0};
  params.eos_token_ids = {0, 1, 2};
  const std::vector<float> processed =
      process(params, {0.0f, 5.0f, -kInf, 1.0f}, std::vector<Token>(5000, 1), 1);
  EXPECT_EQ(processed[0], 0.0f);
  EXPECT_EQ(processed[1], std::numeric_limits<float>::max());
  EXPECT_EQ(processed[2], -kInf);
  EXPECT_EQ(processed[3], 1.0f);
}

class AddTokens final : public LogitsProcessor {
 public:
  void apply(const ScoreContext& context, std::span<float> scores) const override {
    scores[0] += static_cast<float>(context.tokens.size());
  }
  bool thread_safe() const override { return false; }
};

TEST_P(Processors, UsersProcessorsComeBetweenProcessorsAndWarpers) {
  SamplingParams params = sampling();
  params.repetition_penalty = 2.0;
  params.temperature = 0.5;
  const auto user = std::make_shared<AddTokens>();
  const std::vector<float> processed = process(params, {4.0f, 1.0f}, {0, 0, 0}, 1, {user});
  EXPECT_EQ(processed, (std::vector<float>{(4.0f / 2.0f + 3.0f) / 0.5f, 2.0f}));
}

class AllowOnly final : public LogitsProcessor {
 public:
  explicit AllowOnly(std::size_t token) : token_(token) {}
  void apply(const ScoreContext&, std::span<float> scores) const override {
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (i != token_) scores[i] = -kInf;
    }
  }

 private:
  std::size_t token_;
};

TEST_P(Processors, APrefixConstraintComesBeforeForcedTokens) {
  SamplingParams params;
  params.forced_bos_token_id = 2;
  params.suppress_tokens = {0};
  const ProcessorList chain =
      make_processors(context_, params, 4, {}, std::make_shared<AllowOnly>(3));
  std::vector<float> scores = {1, 1, 1, 1};
  apply(chain, {std::vector<Token>{1, 1}, 1}, scores);
  EXPECT_EQ(allowed(scores), std::vector<Token>{3});
  scores = {1, 1, 1, 1};
  apply(chain, {std::vector<Token>{1}, 1}, scores);
  EXPECT_EQ(allowed(scores), std::vector<Token>{2});
}

TEST_P(Processors, ValuesOutOfRangeAreNamed) {
  SamplingParams params;
  params.suppress_tokens = {3, 12};
  EXPECT_EQ(error_of(params),
            "suppress_tokens holds token id 12, but must hold ids from 0 to 9 (the vocabulary)");
  params = {};
  params.sequence_bias = {{{1, -2}, 1.0f}};
  EXPECT_NE(error_of(params).find("sequence_bias holds token id -2"), std::string::npos);
  params.sequence_bias = {{{1}, kNan}};
  EXPECT_NE(error_of(params).find("sequence_bias is nan"), std::string::npos);
  params.sequence_bias = {{{}, 1.0f}};
  EXPECT_NE(error_of(params).find("sequence_bias holds an empty sequence"), std::string::npos);
  params = {};
  params.bad_words_ids = {{2}};
  params.eos_token_ids = {2};
  EXPECT_NE(error_of(params).find("bad_words_ids holds nothing but"), std::string::npos);
  params = sampling();
  params.top_p = 1.5;
  EXPECT_EQ(error_of(params), "top_p is 1.5, but must be a number from 0 to 1 (1: off)");
  params = sampling();
  params.temperature = 0.0;
  EXPECT_NE(error_of(params).find("temperature is 0, "), std::string::npos);
}

}  // namespace
}  // namespace foresight
