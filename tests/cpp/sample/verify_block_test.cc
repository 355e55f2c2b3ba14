// The laws of verification by enumeration on tiny vocabularies, with the functions that the engine
// calls: every chain of drafts, every outcome of the tests, every token that stands in.
#include "sample/verify_block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <vector>

#include "core/rng.h"
#include "sample/verify.h"

namespace foresight {
namespace {

using Weights = std::vector<double>;
using Sequence = std::vector<Token>;
using Law = std::map<Sequence, double>;
using Model = std::function<Weights(const Sequence&)>;

// A distribution that depends on the whole prefix; with `holes` some tokens are forbidden.
Model random_model(std::uint64_t seed, std::size_t vocab, bool holes = false) {
  return [=](const Sequence& prefix) {
    std::uint64_t key = seed;
    for (const Token token : prefix) key = mix64(key, static_cast<std::uint64_t>(token) + 1);
    Weights weights;
    for (std::size_t v = 0; v < vocab; ++v) {
      const bool hole = holes && v != key % vocab && uniform({.seed = key}, v, 1) < 0.4;
      weights.push_back(hole ? 0.0 : std::exp(4.0 * uniform({.seed = key}, v, 0)));
    }
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (double& weight : weights) weight /= sum;
    return weights;
  };
}

Model one_hot(const Model& model) {
  return [=](const Sequence& prefix) {
    Weights weights = model(prefix);
    const auto best = std::max_element(weights.begin(), weights.end()) - weights.begin();
    std::fill(weights.begin(), weights.end(), 0.0);
    weights[static_cast<std::size_t>(best)] = 1.0;
    return weights;
  };
}

double total_variation(const Law& a, const Law& b) {
  double sum = 0.0;
  for (const auto& [sequence, mass] : a) {
    const auto found = b.find(sequence);
    sum += std::abs(mass - (found == b.end() ? 0.0 : found->second));
  }
  for (const auto& [sequence, mass] : b) sum += a.contains(sequence) ? 0.0 : mass;
  return 0.5 * sum;
}

// The law of a round of `num_drafts` drafts, made num_drafts + 1 tokens long by plain decoding, and
// how many drafts stay on average.
struct Round {
  Model p;
  Model q;
  std::size_t num_drafts;
  bool certain = false;  // q is one-hot and handed over as empty
  Law law = {};
  double mean_accepted = 0.0;

  void finish(const Sequence& prefix, double mass) {
    if (mass == 0.0) return;
    if (prefix.size() == num_drafts + 1) {
      law[prefix] += mass;
      return;
    }
    const Weights weights = p(prefix);
    for (std::size_t v = 0; v < weights.size(); ++v) {
      Sequence longer = prefix;
      longer.push_back(static_cast<Token>(v));
      finish(longer, mass * weights[v]);
    }
  }

  void cut(const Sequence& drafts, std::size_t at, const Weights& follows, double mass) {
    mean_accepted += mass * static_cast<double>(at);
    const double sum = std::accumulate(follows.begin(), follows.end(), 0.0);
    for (std::size_t v = 0; v < follows.size(); ++v) {
      Sequence kept(drafts.begin(), drafts.begin() + static_cast<std::ptrdiff_t>(at));
      kept.push_back(static_cast<Token>(v));
      finish(kept, mass * follows[v] / sum);
    }
  }

  // Every chain that q may propose.
  void run(const std::function<void(const Sequence&, double)>& test, const Sequence& drafts = {},
           double mass = 1.0) {
    if (mass == 0.0) return;
    if (drafts.size() == num_drafts) {
      test(drafts, mass);
      return;
    }
    const Weights weights = q(drafts);
    for (std::size_t v = 0; v < weights.size(); ++v) {
      Sequence longer = drafts;
      longer.push_back(static_cast<Token>(v));
      run(test, longer, mass * weights[v]);
    }
  }

  Sequence first(const Sequence& drafts, std::size_t count) const {
    return {drafts.begin(), drafts.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  void by_token() {
    run([&](const Sequence& drafts, double mass) {
      for (std::size_t i = 0; i < num_drafts; ++i) {
        Weights weights = p(first(drafts, i));
        const Weights from = certain ? Weights() : q(first(drafts, i));
        const double stays = acceptance<double>(weights, from, drafts[i]);
        make_residual<double>(weights, from, drafts[i]);
        if (stays < 1.0) cut(drafts, i, weights, mass * (1.0 - stays));
        mass *= stays;
        if (mass == 0.0) return;
      }
      cut(drafts, num_drafts, p(drafts), mass);
    });
  }

  void by_typical(double epsilon, double delta) {
    run([&](const Sequence& drafts, double mass) {
      std::size_t at = 0;
      while (at < num_drafts &&
             is_typical<double>(p(first(drafts, at)), drafts[at], epsilon, delta))
        ++at;
      cut(drafts, at, p(first(drafts, at)), mass);
    });
  }

  void by_block() {
    run([&](const Sequence& drafts, double mass) {
      BlockVerifier<double> verifier;
      std::vector<double> reached;
      std::vector<Weights> follows;
      for (std::size_t i = 0; i <= num_drafts && !verifier.is_decided(); ++i) {
        const Token draft = i == num_drafts ? kNoToken : drafts[i];
        const Weights from = certain || i == num_drafts ? Weights() : q(first(drafts, i));
        const auto ends_at = [&](double u) {
          BlockVerifier<double> copy = verifier;
          Weights weights = p(first(drafts, i));
          return copy.next(weights, from, draft, u, 0.5).ends;
        };
        // The test is u < h: h by bisection.
        double low = 0.0;
        double high = 1.0;
        for (int step = 0; step < 60; ++step) {
          const double middle = 0.5 * (low + high);
          (ends_at(middle) ? low : high) = middle;
        }
        reached.push_back(ends_at(0.0) ? high : 0.0);
        Weights weights = p(first(drafts, i));
        verifier.next(weights, from, draft, 0.0, 0.5);
        follows.push_back(weights);
      }
      double later = 1.0;  // that no later row ends the chain
      for (std::size_t i = reached.size(); i-- > 0;) {
        const double here = mass * later * reached[i];
        if (here > 0.0) cut(drafts, i, follows[i], here);
        later *= 1.0 - reached[i];
      }
      EXPECT_NEAR(later, 0.0, 1e-15) << "the first row always ends it";
    });
  }

  Law plain() const {
    Round other{p, q, num_drafts};
    other.finish({}, 1.0);
    return other.law;
  }
};

TEST(VerifyBlock, HasTheTargetsLawAndKeepsAtLeastAsMuchAsTokenByToken) {
  double block_sum = 0.0;
  double token_sum = 0.0;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    const std::size_t vocab = 3 + seed % 3;
    const std::size_t drafts = 1 + seed % (vocab == 5 ? 3 : 4);
    const Model p = random_model(2 * seed + 1, vocab, seed % 4 == 1);
    const Model q = random_model(2 * seed + 2, vocab, seed % 4 == 2);
    Round block{p, q, drafts};
    block.by_block();
    Round token{p, q, drafts};
    token.by_token();
    const Law plain = block.plain();
    EXPECT_LT(total_variation(block.law, plain), 1e-12) << "seed " << seed;
    EXPECT_LT(total_variation(token.law, plain), 1e-12) << "seed " << seed;
    EXPECT_GE(block.mean_accepted, token.mean_accepted - 1e-12) << "seed " << seed;
    block_sum += block.mean_accepted;
    token_sum += token.mean_accepted;
  }
  EXPECT_GT(block_sum, token_sum * 1.01) << "not merely equal";
  RecordProperty("block_accepted", std::to_string(block_sum / 24.0));
  RecordProperty("token_accepted", std::to_string(token_sum / 24.0));
}

TEST(VerifyBlock, OfCertainDraftsKeepsWhatAnyRuleKeeps) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const std::size_t vocab = 3 + seed % 3;
    const Model p = random_model(seed + 100, vocab, seed % 2 == 1);
    const Model q = one_hot(random_model(seed + 200, vocab));
    Round block{p, q, 3, true};
    block.by_block();
    Round token{p, q, 3, true};
    token.by_token();
    EXPECT_LT(total_variation(block.law, block.plain()), 1e-12) << "seed " << seed;
    EXPECT_LT(total_variation(token.law, block.plain()), 1e-12) << "seed " << seed;
    EXPECT_NEAR(block.mean_accepted, token.mean_accepted, 1e-12) << "seed " << seed;
    // The same drafts with all of the mass handed over, instead of nothing.
    Round whole{p, q, 3};
    whole.by_block();
    EXPECT_LT(total_variation(whole.law, block.law), 1e-12) << "seed " << seed;
    EXPECT_NEAR(whole.mean_accepted, block.mean_accepted, 1e-12) << "seed " << seed;
    // A target that leaves no choice.
    Round forced{one_hot(p), q, 3};
    forced.by_block();
    EXPECT_LT(total_variation(forced.law, forced.plain()), 1e-12) << "seed " << seed;
  }
}

TEST(VerifyBlock, OfDraftsFromTheTargetItselfKeepsAllOfThem) {
  const Model p = random_model(7, 4);
  Round block{p, p, 3};
  block.by_block();
  EXPECT_NEAR(block.mean_accepted, 3.0, 1e-12);
  EXPECT_LT(total_variation(block.law, block.plain()), 1e-12);
}

TEST(VerifyBlock, NeverWritesWhatTheTargetForbids) {
  for (std::uint64_t trial = 0; trial < 4000; ++trial) {
    const Weights exact = random_model(trial, 5, true)({});
    std::vector<float> p(exact.begin(), exact.end());
    std::vector<float> q = p;  // the same but for rounding
    q[trial % 5] = std::nextafter(q[trial % 5], trial % 2 == 0 ? 1.0f : 0.0f);
    BlockVerifier<float> verifier;
    const Token draft = draw<float>(q, uniform({.seed = trial}, 0, 0));
    const auto verdict =
        verifier.next(p, q, draft, uniform({.seed = trial}, 0, 1), uniform({.seed = trial}, 0, 2));
    ASSERT_TRUE(verdict.ends);
    ASSERT_GE(verdict.token, 0);
    ASSERT_GT(exact[static_cast<std::size_t>(verdict.token)], 0.0);
  }
}

TEST(VerifyBlock, FloatDecidesAsDouble) {
  int differing = 0;
  for (std::uint64_t trial = 0; trial < 2000; ++trial) {
    BlockVerifier<float> single;
    BlockVerifier<double> twice;
    for (std::size_t i = 0; i < 3; ++i) {
      Weights p = random_model(trial * 8 + i, 6)({});
      Weights q = random_model(trial * 8 + i + 4, 6)({});
      std::vector<float> single_p(p.begin(), p.end());
      const std::vector<float> single_q(q.begin(), q.end());
      const Token draft = draw<double>(q, uniform({.seed = trial}, i, 0));
      const double test = uniform({.seed = trial}, i, 1);
      const double token = uniform({.seed = trial}, i, 2);
      const auto a = single.next(single_p, single_q, draft, test, token);
      const auto b = twice.next(p, q, draft, test, token);
      differing += a.ends != b.ends || a.token != b.token ? 1 : 0;
    }
  }
  EXPECT_LE(differing, 2) << "only where a uniform number falls between two roundings";
}

// A tree of certain guesses is walked by drawing the token and going on where a guess equals it.
// EAGLE's rule (siblings tried in turn, what is left renormalised) accepts each of them as often.
TEST(VerifyTree, DrawingTheTokenAcceptsSiblingsAsOftenAsTryingThemInTurn) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Weights p = random_model(seed, 5, seed % 2 == 1)({});
    Weights left = p;
    double reached = 1.0;
    for (const Token sibling : {3, 0, 4}) {
      const double sum = std::accumulate(left.begin(), left.end(), 0.0);
      if (sum == 0.0) break;
      for (double& weight : left) weight /= sum;
      const double stays = acceptance<double>(left, Weights(), sibling);
      EXPECT_NEAR(reached * stays, p[static_cast<std::size_t>(sibling)], 1e-14);
      reached *= 1.0 - stays;
      make_residual<double>(left, Weights(), sibling);
    }
  }
}

TEST(VerifyTypical, IsAnotherLaw) {
  const Weights p{0.7, 0.2, 0.1};
  const double entropy = -(0.7 * std::log(0.7) + 0.2 * std::log(0.2) + 0.1 * std::log(0.1));
  const double threshold = std::min(0.09, 0.3 * std::exp(-entropy));
  EXPECT_NEAR(threshold, 0.09, 1e-12);
  EXPECT_TRUE(is_typical<double>(p, 2, 0.09, 0.3)) << "0.1 passes, though p rarely draws it";
  EXPECT_FALSE(is_typical<double>(p, 2, 0.2, 0.3));
  EXPECT_FALSE(is_typical<double>(Weights{0.5, 0.5, 0.0}, 2, 0.09, 0.3));
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Round round{random_model(2 * seed + 1, 4), random_model(2 * seed + 2, 4), 2};
    round.by_typical(0.09, 0.3);
    EXPECT_GT(total_variation(round.law, round.plain()), 1e-3) << "seed " << seed;
  }
}

}  // namespace
}  // namespace foresight
