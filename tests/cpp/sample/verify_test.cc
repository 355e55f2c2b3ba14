// The law of decoding with drafts, by enumeration of every draft, test and replacement on a tiny
// vocabulary, with the functions that the engine calls.
#include "sample/verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "core/rng.h"

namespace foresight {
namespace {

using Weights = std::vector<double>;
using Sequence = std::vector<Token>;
using Law = std::map<Sequence, double>;

Weights softmax(std::uint64_t seed, std::size_t vocab, double temperature) {
  Weights weights;
  double sum = 0.0;
  for (std::size_t v = 0; v < vocab; ++v) {
    const double score = 4.0 * uniform({.seed = seed}, v, 0);
    weights.push_back(std::exp(score / temperature));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

Token argmax(const Weights& weights) {
  return static_cast<Token>(std::max_element(weights.begin(), weights.end()) - weights.begin());
}

enum class Drafts { sampled, certain, published };

// Rounds of strided decoding without an engine: clean rows p, mask rows q.
struct Enumeration {
  std::size_t vocab;
  std::size_t length;
  std::size_t stride;
  double temperature;
  Drafts kind;
  std::uint64_t seed;
  Law law = {};

  struct Draft {
    Token token;
    Weights q;
  };

  Weights p(const Sequence& prefix) const {
    std::uint64_t key = seed;
    for (const Token token : prefix) key = mix64(key, static_cast<std::uint64_t>(token));
    return softmax(key, vocab, temperature);
  }
  // Of the mask `ahead` behind a prefix: like p of some continuation, unlike it enough to matter.
  Weights q(const Sequence& prefix, std::size_t ahead) const {
    Sequence guess = prefix;
    for (std::size_t i = 0; i <= ahead; ++i) guess.push_back(argmax(p(guess)));
    Weights near = p(guess);
    const Weights far = softmax(mix64(seed + 1, prefix.size() * 8 + ahead), vocab, temperature);
    for (std::size_t v = 0; v < vocab; ++v) near[v] = 0.5 * near[v] + 0.5 * far[v];
    return near;
  }

  // Every way to draw the drafts that follow the token after `accepted`.
  void draft(const Sequence& accepted, const Sequence& prefix, std::vector<Draft> drafts,
             double probability) {
    if (prefix.size() == length) {
      law[prefix] += probability;
      return;
    }
    if (drafts.size() + 1 == stride) {
      test(prefix, drafts, probability);
      return;
    }
    const Weights weights = q(accepted, drafts.size());
    for (Token token = 0; token < static_cast<Token>(vocab); ++token) {
      const double drawn = kind == Drafts::sampled ? weights[static_cast<std::size_t>(token)]
                                                   : (token == argmax(weights) ? 1.0 : 0.0);
      if (drawn == 0.0) continue;
      drafts.push_back({token, kind == Drafts::certain ? Weights{} : weights});
      draft(accepted, prefix, drafts, probability * drawn);
      drafts.pop_back();
    }
  }

  void settle(const Sequence& accepted, std::span<const double> weights, double probability) {
    double sum = 0.0;
    for (const double weight : weights) sum += weight;
    for (std::size_t v = 0; v < vocab; ++v) {
      if (weights[v] == 0.0) continue;
      Sequence prefix = accepted;
      prefix.push_back(static_cast<Token>(v));
      draft(accepted, prefix, {}, probability * weights[v] / sum);
    }
  }

  void test(Sequence prefix, const std::vector<Draft>& drafts, double probability) {
    for (const Draft& draft : drafts) {
      if (prefix.size() + 1 == length) break;
      Weights own = p(prefix);
      const double stays = acceptance<double>(own, draft.q, draft.token);
      if (stays < 1.0) {
        make_residual<double>(own, draft.q, draft.token);
        settle(prefix, own, probability * (1.0 - stays));
      }
      prefix.push_back(draft.token);
      probability *= stays;
      if (probability == 0.0) return;
    }
    settle(prefix, p(prefix), probability);
  }

  Law autoregressive() const {
    Law plain;
    plain[{}] = 1.0;
    for (std::size_t i = 0; i < length; ++i) {
      Law longer;
      for (const auto& [prefix, probability] : plain) {
        const Weights weights = p(prefix);
        for (std::size_t v = 0; v < vocab; ++v) {
          Sequence next = prefix;
          next.push_back(static_cast<Token>(v));
          longer[next] += probability * weights[v];
        }
      }
      plain = std::move(longer);
    }
    return plain;
  }

  double distance_to_autoregressive() {
    law.clear();
    settle({}, p({}), 1.0);
    double distance = 0.0;
    for (const auto& [sequence, probability] : autoregressive())
      distance += 0.5 * std::fabs(probability - law[sequence]);
    return distance;
  }
};

TEST(Verify, DraftsLeaveTheLawAsItIs) {
  for (const std::size_t vocab : {std::size_t{3}, std::size_t{4}}) {
    for (const std::size_t stride : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
      for (const double temperature : {0.3, 1.0, 2.5}) {
        for (const Drafts kind : {Drafts::sampled, Drafts::certain}) {
          Enumeration enumeration{.vocab = vocab,
                                  .length = vocab == 3 ? 5u : 4u,
                                  .stride = stride,
                                  .temperature = temperature,
                                  .kind = kind,
                                  .seed = 7 + stride};
          EXPECT_LT(enumeration.distance_to_autoregressive(), 1e-12)
              << "vocabulary " << vocab << ", stride " << stride << ", temperature " << temperature;
        }
      }
    }
  }
}

TEST(Verify, ThePublishedRuleIsNotExact) {
  for (const std::size_t stride : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
    for (const double temperature : {0.5, 1.0, 2.5}) {
      Enumeration enumeration{.vocab = 3,
                              .length = 5,
                              .stride = stride,
                              .temperature = temperature,
                              .kind = Drafts::published,
                              .seed = 7 + stride};
      EXPECT_GT(enumeration.distance_to_autoregressive(), 1e-3)
          << "stride " << stride << ", temperature " << temperature;
    }
  }
}

TEST(Verify, DrawsSplitTheUnitIntervalByWeight) {
  const Weights weights{0.0, 0.5, 0.0, 1.0, 0.25, 0.0};
  const double sum = 1.75;
  EXPECT_EQ(draw<double>(weights, 0.0), 1);
  EXPECT_EQ(draw<double>(weights, 0.5 / sum - 1e-12), 1);
  EXPECT_EQ(draw<double>(weights, 0.5 / sum + 1e-12), 3);
  EXPECT_EQ(draw<double>(weights, 1.5 / sum - 1e-12), 3);
  EXPECT_EQ(draw<double>(weights, 1.5 / sum + 1e-12), 4);
  EXPECT_EQ(draw<double>(weights, std::nextafter(1.0, 0.0)), 4);
}

template <typename Real>
void expect_verdicts_follow_the_probabilities() {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Weights p_double = softmax(seed, 5, 0.7);
    const Weights q_double = softmax(seed + 100, 5, 1.3);
    const std::vector<Real> p(p_double.begin(), p_double.end());
    const std::vector<Real> q =
        seed % 4 == 3 ? std::vector<Real>{} : std::vector<Real>(q_double.begin(), q_double.end());
    for (Token draft = 0; draft < 5; ++draft) {
      const double stays = acceptance<Real>(p, q, draft);
      std::vector<Real> work = p;
      EXPECT_TRUE(verify<Real>(work, q, draft, stays * (1 - 1e-9), 0.5).accepted);
      if (stays == 1.0) continue;
      std::vector<Real> residual = p;
      make_residual<Real>(residual, q, draft);
      EXPECT_EQ(residual[static_cast<std::size_t>(draft)], Real{0});
      for (double u = 0.05; u < 1.0; u += 0.1) {
        work = p;
        const Verdict verdict = verify<Real>(work, q, draft, stays, u);
        EXPECT_FALSE(verdict.accepted);
        EXPECT_EQ(verdict.token, draw<Real>(residual, u));
        EXPECT_NE(verdict.token, draft);
      }
    }
  }
}

TEST(Verify, VerdictsFollowTheProbabilities) {
  expect_verdicts_follow_the_probabilities<float>();
  expect_verdicts_follow_the_probabilities<double>();
}

TEST(Verify, EqualDistributionsAcceptAlways) {
  std::vector<float> p{0.25f, 0.75f};
  const std::vector<float> q = p;
  EXPECT_TRUE(verify<float>(p, q, 0, std::nextafter(1.0, 0.0), 0.0).accepted);
}

TEST(Verify, ACertainTokenIsNeverReplacedByNothing) {
  // A distribution whose sum rounds below one: the only token stays whatever the uniform.
  std::vector<float> p{0.0f, 0.9999999f};
  EXPECT_EQ(verify<float>(p, {}, 1, std::nextafter(1.0, 0.0), 0.0).token, 1);
}

TEST(Verify, RoundingInTheDraftersDistributionAllowsNothing) {
  // q holds what p holds and a little of what p forbids: no residual. Or it does not hold its
  // draft.
  for (const std::vector<float>& q :
       {std::vector<float>{1e-9f, 0.25f, 0.75f}, std::vector<float>{0.0005f, 0.25f, 0.75f},
        std::vector<float>{0.0f, 0.25f, 0.75f}, std::vector<float>{0.0f, 0.5f, 0.5f}}) {
    for (double u = 0.0; u < 1.0; u += 0.125) {
      std::vector<float> p{0.0f, 0.25f, 0.75f};
      const Verdict verdict = verify<float>(p, q, 0, u, u);
      EXPECT_FALSE(verdict.accepted) << u;
      EXPECT_NE(verdict.token, 0) << u;
    }
  }
}

TEST(Verify, ForbiddenDraftsAreAlwaysReplaced) {
  std::vector<float> p{0.0f, 0.5f, 0.5f};
  const std::vector<float> q{1.0f, 0.0f, 0.0f};
  const Verdict verdict = verify<float>(p, q, 0, 0.0, 0.75);
  EXPECT_FALSE(verdict.accepted);
  EXPECT_EQ(verdict.token, 2);
}

}  // namespace
}  // namespace foresight
