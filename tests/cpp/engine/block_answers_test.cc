// Chains of drafts that are tested as a block, through the engine: the answers are what
// BlockVerifier says of the rows' logits, each about the token that its row emits.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "cpp/engine/rig.h"
#include "sample/draws.h"
#include "sample/verify.h"
#include "sample/verify_block.h"

namespace foresight::engine_test {
namespace {

constexpr std::int64_t kDrafts = 4;

std::vector<float> softmax(const std::vector<float>& logits) {
  const float max = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  std::vector<float> weights;
  for (const float logit : logits)
    weights.push_back(static_cast<float>(std::exp(static_cast<double>(logit) - max) / sum));
  return weights;
}

// How often a chain was cut behind so many drafts.
struct Tally {
  std::array<int, kDrafts + 1> cuts{};
};

// Every token takes two forwards over the same rows: one that reads their logits, one that tests.
class Blocks final : public Policy {
 public:
  explicit Blocks(Tally* tally) : tally_(tally) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&, Role) const override {
    return std::ssize(view.tokens) - 1;
  }
  std::int64_t peak_slots(std::int64_t max_length) const override { return max_length + kDrafts; }

  Plan plan(const BranchView& view, const PolicyState& state) const override {
    Plan plan;
    Segment& segment = plan.segments.emplace_back();
    for (std::int32_t i = 0; i <= kDrafts; ++i) {
      const bool is_last = i == kDrafts;
      Ask ask{.kind = AskKind::logits};
      if (state.has_value()) {
        ask = {.kind = AskKind::verify,
               .token = is_last ? kNoToken : draft(view, i),
               .draw = draft_draw(i + 1),
               .drawn_from = is_last ? nullptr : drawn_from(view, i),
               .verification = Verification::block};
      }
      const Token token = i == 0 ? view.tokens.back() : draft(view, i - 1);
      segment.rows.push_back(causal_row(token, std::ssize(view.tokens) - 1 + i, i, ask));
    }
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& state, const Plan&,
                 Readout& readout) const override {
    std::vector<RowReadout>& answers = readout.segments.at(0);
    Commit commit;
    commit.kept_rows.emplace_back();
    if (!state.has_value()) {
      std::vector<std::vector<float>> logits;
      for (RowReadout& answer : answers) logits.push_back(std::move(answer.logits));
      state = std::move(logits);
      return commit;
    }
    const auto logits = std::any_cast<std::vector<std::vector<float>>>(state);
    const auto [cut, follows] = expected(view, logits);
    ++tally_->cuts[cut];
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const RowReadout& answer = answers[i];
      EXPECT_EQ(answer.accepted, i < cut);
      if (i > cut) {
        EXPECT_EQ(answer.token, kNoToken);
        EXPECT_EQ(answer.logprob, 0.0f);
        EXPECT_TRUE(answer.top.empty() && answer.scores.empty() && answer.logits.empty());
        continue;
      }
      const Token token = i < cut ? draft(view, static_cast<std::int64_t>(i)) : follows;
      EXPECT_EQ(answer.token, token);
      EXPECT_NEAR(answer.logprob, std::log(softmax(logits[i])[static_cast<std::size_t>(token)]),
                  1e-4);
      EXPECT_EQ(answer.scores, logits[i]);
      EXPECT_EQ(answer.top.size(), 2u);
      commit.tokens.push_back({token, answer});
      commit.kept_rows[0].push_back(static_cast<std::int32_t>(i));
    }
    state.reset();
    return commit;
  }

 private:
  static std::uint64_t seed_of(const BranchView& view, std::int64_t index) {
    return mix64(static_cast<std::uint64_t>(std::ssize(view.tokens)),
                 static_cast<std::uint64_t>(index));
  }

  static KeptDistribution drawn_from(const BranchView& view, std::int64_t index) {
    if (seed_of(view, index) % 5 == 0) return nullptr;  // a certain one
    std::vector<float> scores;
    for (std::uint64_t v = 0; v < FakeModel::kVocab; ++v)
      scores.push_back(static_cast<float>(2.0 * uniform({.seed = seed_of(view, index)}, v, 0)));
    return std::make_shared<const std::vector<float>>(softmax(scores));
  }

  static Token draft(const BranchView& view, std::int64_t index) {
    const KeptDistribution q = drawn_from(view, index);
    const double random = uniform({.seed = seed_of(view, index)}, 0, 1);
    return q != nullptr ? draw<float>(*q, random) : static_cast<Token>(random * FakeModel::kVocab);
  }

  // The row at which the chain is cut, and the token there.
  static std::pair<std::size_t, Token> expected(const BranchView& view,
                                                const std::vector<std::vector<float>>& logits) {
    BlockVerifier<float> verifier;
    std::pair<std::size_t, Token> out{0, kNoToken};
    for (std::int32_t i = 0; i <= kDrafts && !verifier.is_decided(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const bool is_last = i == kDrafts;
      std::vector<float> p = softmax(logits[at]);
      const KeptDistribution q = is_last ? nullptr : drawn_from(view, i);
      const auto position = static_cast<std::uint64_t>(std::ssize(view.tokens) + i);
      const auto verdict =
          verifier.next(p, q == nullptr ? std::span<const float>() : std::span<const float>(*q),
                        is_last ? kNoToken : draft(view, i),
                        uniform(view.key, position, draft_draw(i + 1) + kAcceptDraw),
                        uniform(view.key, position, draft_draw(i + 1) + kResidualDraw));
      if (verdict.ends) out = {at, verdict.token};
    }
    return out;
  }

  Tally* tally_;
};

TEST(BlockAnswers, AreWhatTheVerifierSaysOfTheRows) {
  Tally tally;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    RequestSpec spec = make_spec(some_tokens(5, seed), 60, true, seed);
    spec.policy = std::make_shared<Blocks>(&tally);
    spec.logprobs = 2;
    spec.output_scores = true;
    Rig rig(1000);
    EXPECT_EQ(run(rig, {spec})[0].size(), 60u);
    rig.expect_empty();
  }
  for (const int count : tally.cuts) EXPECT_GT(count, 0) << "chains are cut behind every draft";
}

}  // namespace
}  // namespace foresight::engine_test
