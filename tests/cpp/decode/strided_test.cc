// Strided decoding through the whole engine: greedy gives the tokens of plain decoding, sampling
// its law, and drafts are there in every round but the first.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "cpp/engine/rig.h"

namespace foresight::engine_test {
namespace {

constexpr Token kMask = FakeModel::kVocab - 1;

std::shared_ptr<const Policy> strided(std::int64_t stride, bool exact = true,
                                      double row_cost = 0.01) {
  return make_policy("strided", {{"stride", stride}, {"exact", exact}, {"row_cost", row_cost}});
}

// Every sequence has a favourite token per position, which clean rows prefer by `clean` and mask
// rows by `mask`; beside it the logits depend on all that a row sees, times `noise`.
struct Taste {
  float clean = 0.0f;
  float mask = 0.0f;
  float noise = 1.0f;
};
constexpr Taste kUnrelated{};
constexpr Taste kOften{.clean = 5.0f, .mask = 4.0f, .noise = 0.5f};
constexpr Taste kAlways{.clean = 1.0f, .mask = 1.0f, .noise = 0.0f};
constexpr Taste kNever{.clean = 1.0f, .mask = -1.0f, .noise = 0.0f};

void prepare(Rig& rig, Taste taste) {
  rig.model->config().mask_token_id = kMask;
  rig.model->rewrite = [taste](Token token, std::int32_t position, std::span<float> logits) {
    const auto favourite = mix64(5, static_cast<std::uint64_t>(position)) % (kMask - 1);
    for (float& logit : logits) logit *= taste.noise;
    logits[favourite] += token == kMask ? taste.mask : taste.clean;
  };
}

std::vector<Tokens> run_with(Taste taste, const std::vector<RequestSpec>& specs,
                             std::int64_t num_pages = 4000, std::int64_t chunk = 64,
                             bool preempts = false) {
  Rig rig(num_pages, 2);
  prepare(rig, taste);
  rig.engine->chunk_budget().fix(chunk);
  auto out = run(rig, specs, [&] {
    if (preempts) rig.preempt_all();
  });
  rig.expect_empty();
  return out;
}

std::vector<RequestSpec> with_policy(std::vector<RequestSpec> specs,
                                     const std::shared_ptr<const Policy>& policy) {
  for (RequestSpec& spec : specs) spec.policy = policy;
  return specs;
}

std::vector<RequestSpec> greedy_specs() {
  std::vector<RequestSpec> specs = mixed_specs();
  for (RequestSpec& spec : specs) spec.sampling.do_sample = false;
  specs[1].max_new_tokens = 40;
  specs[8].max_new_tokens = 33;
  specs[8].sampling.no_repeat_ngram_size = 2;
  return specs;
}

TEST(Strided, GreedyGivesTheTokensOfPlainDecoding) {
  const auto specs = greedy_specs();
  for (const Taste taste : {kUnrelated, kOften, kAlways, kNever}) {
    const auto wanted = run_with(taste, specs);
    for (const bool exact : {true, false}) {
      for (const std::int64_t stride : {0, 2, 3, 4, 8}) {
        const auto tried = with_policy(specs, strided(stride, exact));
        EXPECT_EQ(run_with(taste, tried), wanted) << "stride " << stride << ", exact " << exact;
        EXPECT_EQ(run_with(taste, tried, 4000, 64, true), wanted) << "preempted";
        EXPECT_EQ(run_with(taste, tried, 80, 3), wanted) << "a small cache";
      }
    }
  }
}

TEST(Strided, SampledTokensDoNotDependOnBatchOrPreemption) {
  for (const Taste taste : {kUnrelated, kOften}) {
    for (const bool exact : {true, false}) {
      for (const std::int64_t stride : {0, 3}) {
        const auto specs = with_policy(mixed_specs(), strided(stride, exact));
        std::vector<Tokens> wanted;
        for (const RequestSpec& spec : specs) {
          for (Tokens& tokens : run_with(taste, {spec})) wanted.push_back(std::move(tokens));
        }
        EXPECT_EQ(run_with(taste, specs), wanted);
        EXPECT_EQ(run_with(taste, specs, 4000, 64, true), wanted);
        EXPECT_EQ(run_with(taste, specs, 80, 1), wanted);
      }
    }
  }
}

// Chi-square of two samples in units of its standard deviation, above its mean.
double excess(const std::map<Tokens, int>& a, const std::map<Tokens, int>& b) {
  std::map<Tokens, std::pair<double, double>> cells;
  for (const auto& [tokens, count] : a) cells[tokens].first += count;
  for (const auto& [tokens, count] : b) cells[tokens].second += count;
  double statistic = 0.0;
  double cell_count = 0.0;
  std::pair<double, double> rest{0.0, 0.0};
  const auto add = [&](std::pair<double, double> cell) {
    const double sum = cell.first + cell.second;
    if (sum == 0.0) return;
    statistic += (cell.first - cell.second) * (cell.first - cell.second) / sum;
    cell_count += 1.0;
  };
  for (const auto& [tokens, cell] : cells) {
    if (cell.first + cell.second >= 20.0) {
      add(cell);
    } else {
      rest.first += cell.first;
      rest.second += cell.second;
    }
  }
  add(rest);
  const double freedom = cell_count - 1.0;
  return (statistic - freedom) / std::sqrt(2.0 * freedom);
}

std::map<Tokens, int> histogram(Taste taste, const RequestSpec& spec, std::uint64_t first_seed,
                                int count) {
  std::map<Tokens, int> out;
  Rig rig(40000);
  prepare(rig, taste);
  rig.engine->chunk_budget().fix(1000);
  for (int done = 0; done < count; done += 250) {
    std::vector<RequestSpec> specs(250, spec);
    for (std::size_t i = 0; i < specs.size(); ++i)
      specs[i].seed = first_seed + static_cast<std::uint64_t>(done) + i;
    for (const Tokens& tokens : run(rig, specs)) ++out[tokens];
  }
  return out;
}

RequestSpec sampled_spec(int variant) {
  RequestSpec spec = make_spec(some_tokens(5, 3), 5, true);
  spec.sampling.top_k = 3;
  if (variant == 1) spec.sampling.repetition_penalty = 1.6;
  if (variant == 2) spec.sampling.temperature = 2.0;
  if (variant == 2) spec.sampling.top_p = 0.8;
  if (variant == 3) spec.guidance_scale = 1.5f;
  if (variant == 3) spec.sampling.min_new_tokens = 3;
  if (variant == 3) spec.sampling.eos_token_ids = {1, 2, 3, 4, 5, 6};
  return spec;
}

constexpr int kDraws = 6000;

TEST(Strided, SamplingHasTheLawOfPlainDecoding) {
  for (const Taste taste : {kUnrelated, kOften}) {
    for (int variant = 0; variant < 4; ++variant) {
      RequestSpec spec = sampled_spec(variant);
      const auto plain = histogram(taste, spec, 0, kDraws);
      EXPECT_GT(plain.size(), 20u);
      for (const std::int64_t stride : {2, 4}) {
        spec.policy = strided(stride);
        // Other seeds: the same ones would share draws with plain decoding.
        EXPECT_LT(excess(plain, histogram(taste, spec, 1'000'000, kDraws)), 4.0)
            << "variant " << variant << ", stride " << stride;
      }
    }
  }
}

TEST(Strided, ThePublishedRuleHasAnotherLaw) {
  RequestSpec spec = sampled_spec(0);
  const auto plain = histogram(kOften, spec, 0, kDraws);
  spec.policy = strided(3, false);
  EXPECT_GT(excess(plain, histogram(kOften, spec, 1'000'000, kDraws)), 10.0);
}

struct Cost {
  std::int64_t forwards = 0;
  Job::Stats stats;
};

Cost cost_of(Taste taste, RequestSpec spec) {
  Rig rig;
  prepare(rig, taste);
  rig.engine->chunk_budget().fix(64);
  Job job(rig.engine);
  job.add(std::move(spec));
  job.advance(Until::done, no_poll);
  return {rig.model->num_forwards, job.stats()};
}

TEST(Strided, OnlyTheFirstRoundIsWithoutDrafts) {
  RequestSpec spec = make_spec(some_tokens(9, 1), 25);
  spec.policy = strided(4);
  const Cost accepted = cost_of(kAlways, spec);
  EXPECT_EQ(accepted.forwards, 1 + 24 / 4) << "the prompt and the first token share a forward";
  EXPECT_EQ(accepted.stats.counters.drafted_tokens, 18);
  EXPECT_EQ(accepted.stats.counters.accepted_tokens, 18);
  EXPECT_EQ(accepted.stats.counters.generated_tokens, 25);
  const Cost rejected = cost_of(kNever, spec);
  EXPECT_EQ(rejected.forwards, 25);
  EXPECT_EQ(rejected.stats.counters.drafted_tokens, 3 * 21 + 3) << "drafts in every later round";
  EXPECT_EQ(rejected.stats.counters.accepted_tokens, 0);
}

TEST(Strided, ThePublishedAlgorithmStartsAnewAfterARejection) {
  RequestSpec spec = make_spec(some_tokens(9, 1), 25);
  spec.policy = strided(4, false);
  EXPECT_EQ(cost_of(kAlways, spec).forwards, 7);
  const Cost rejected = cost_of(kNever, spec);
  EXPECT_EQ(rejected.forwards, 25);
  EXPECT_LT(rejected.stats.counters.drafted_tokens, 3 * 13);
}

TEST(Strided, RowsPerRound) {
  // The first round has one clean row and N - 1 masks, a full one N * N rows, or 2 N - 1 of the
  // published algorithm.
  for (const std::int64_t stride : {2, 4, 8}) {
    RequestSpec spec = make_spec(some_tokens(1, 1), 1 + 3 * stride);
    for (const bool exact : {true, false}) {
      spec.policy = strided(stride, exact);
      Rig rig;
      prepare(rig, kAlways);
      Job job(rig.engine);
      job.add(spec);
      job.advance(Until::step, no_poll);
      EXPECT_EQ(rig.model->num_rows, stride);
      job.advance(Until::step, no_poll);
      EXPECT_EQ(rig.model->num_rows, stride + (exact ? stride * stride : 2 * stride - 1));
    }
  }
}

TEST(Strided, AnEosInsideARoundEndsTheSequence) {
  RequestSpec spec = make_spec(some_tokens(9, 1), 25);
  const Tokens plain = run_with(kAlways, {spec})[0];
  spec.sampling.eos_token_ids = {plain[6]};
  const Tokens wanted = run_with(kAlways, {spec})[0];
  ASSERT_LT(wanted.size(), 25u);
  spec.policy = strided(4);
  EXPECT_EQ(run_with(kAlways, {spec})[0], wanted);
}

TEST(Strided, AdaptiveStrideTurnsItselfOffAndTriesAgain) {
  RequestSpec spec = make_spec(some_tokens(3, 1), 300);
  spec.policy = strided(0, true, 0.09);
  const Cost rejected = cost_of(kNever, spec);
  EXPECT_LT(rejected.stats.counters.rows, 2 * 300);
  EXPECT_GT(rejected.stats.counters.drafted_tokens, 30) << "tried more than once";
  const Cost accepted = cost_of(kAlways, spec);
  EXPECT_LT(accepted.forwards, 120);
  spec.policy = strided(0, true, 0.002);
  EXPECT_LT(cost_of(kAlways, spec).forwards, 50) << "longer strides where rows cost little";
}

// Records what a user's processor is shown.
class Recorder final : public LogitsProcessor {
 public:
  void apply(const ScoreContext& context, std::span<float> scores) const override {
    seen.emplace_back(context.tokens.begin(), context.tokens.end());
    scores[seen.size() % 7] += 2.0f;
  }
  bool thread_safe() const override { return false; }
  mutable std::vector<Tokens> seen;
};

TEST(Strided, AUsersProcessorSeesEveryPositionOnceAndNoMasks) {
  RequestSpec spec = make_spec(some_tokens(4, 1), 30, true);
  const auto recorder = std::make_shared<Recorder>();
  spec.user_processors = {recorder};
  spec.policy = strided(4);
  const Tokens tokens = run_with(kOften, {spec})[0];
  ASSERT_EQ(recorder->seen.size(), 30u);
  Tokens so_far = spec.tokens;
  for (std::size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(recorder->seen[i], so_far);
    so_far.push_back(tokens[i]);
  }
}

TEST(Strided, GuessesThatCannotBeMadeAreNoErrors) {
  // Every token once, so that in the end the mask itself is all that is left.
  RequestSpec spec = make_spec({3}, FakeModel::kVocab - 1);
  spec.sampling.no_repeat_ngram_size = 1;
  const auto wanted = run_with(kUnrelated, {spec});
  spec.policy = strided(4);
  EXPECT_EQ(run_with(kUnrelated, {spec}), wanted);
}

TEST(Strided, ReadoutsAreThoseOfPlainDecoding) {
  RequestSpec spec = make_spec(some_tokens(6, 2), 20);
  spec.logprobs = 3;
  spec.output_scores = true;
  spec.output_logits = true;
  spec.sampling.repetition_penalty = 1.3;
  const auto readouts = [](RequestSpec request) {
    Rig rig;
    prepare(rig, kOften);
    Job job(rig.engine);
    job.add(std::move(request));
    job.advance(Until::done, no_poll);
    return job.branch(0, 0).readouts;
  };
  const auto wanted = readouts(spec);
  spec.policy = strided(4);
  const auto got = readouts(spec);
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].logprob, wanted[i].logprob);
    EXPECT_EQ(got[i].raw_logprob, wanted[i].raw_logprob);
    EXPECT_EQ(got[i].scores, wanted[i].scores);
    EXPECT_EQ(got[i].logits, wanted[i].logits);
    ASSERT_EQ(got[i].top.size(), 3u);
    EXPECT_EQ(got[i].top[2].token, wanted[i].top[2].token);
  }
}

BranchView view_of(const Tokens& tokens, RngKey key) {
  return {.tokens = tokens,
          .prompt_length = 2,
          .max_length = 30,
          .key = key,
          .model = {.vocab_size = FakeModel::kVocab, .mask_token = kMask},
          .unconditional = {}};
}

TEST(Strided, MaskRowsUseTheAdapterAndAForkDrawsItsOwnDrafts) {
  const auto policy = strided(3);
  Tokens tokens{1, 2};
  const RngKey key{.seed = 5};
  PolicyState state;
  const Plan first = policy->plan(view_of(tokens, key), state);
  Readout readout;
  readout.segments.resize(1);
  for (const Token token : {4, 5, 6}) {
    RowReadout answer;
    answer.token = token;
    answer.drawn_from = std::make_shared<const std::vector<float>>(FakeModel::kVocab, 0.1f);
    readout.segments[0].push_back(answer);
  }
  policy->advance(view_of(tokens, key), state, first, readout);
  tokens.push_back(4);
  const Plan next = policy->plan(view_of(tokens, key), state);
  ASSERT_EQ(next.segments[0].rows.size(), 9u);
  for (const Row& row : next.segments[0].rows) EXPECT_EQ(row.adapter, row.token == kMask);
  EXPECT_EQ(next.segments[0].rows[1].token, 5);
  EXPECT_EQ(policy->plan(view_of(tokens, key.fork(3, 0)), state).segments[0].rows.size(), 3u);
  tokens.push_back(9);
  EXPECT_EQ(policy->plan(view_of(tokens, key), state).segments[0].rows.size(), 3u)
      << "drafts for another length are of no use";
}

TEST(Strided, OptionsAreChecked) {
  EXPECT_THROW(strided(1), ValueError);
  EXPECT_THROW(strided(9), ValueError);
  EXPECT_THROW(strided(-1), ValueError);
  EXPECT_THROW(make_policy("strided", {}), ValueError);
}

}  // namespace
}  // namespace foresight::engine_test
