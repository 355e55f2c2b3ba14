// Policies that draft, branch and replace give what plain decoding gives, in any batch and under
// any preemption; and every registered policy ends, is deterministic and does not see its batch
// mates.
#include <gtest/gtest.h>

#include "cpp/engine/rig.h"
#include "cpp/engine/test_policies.h"
#include "decode/drafters/random_tokens.h"

namespace foresight::engine_test {
namespace {

struct Drafted {
  std::vector<RequestSpec> specs;
  std::vector<Tokens> wanted;
};

// Drafts of several shapes, greedy and sampled, with processors that look back, and the tokens that
// plain decoding gives.
Drafted drafted_specs() {
  Drafted out;
  for (std::int64_t i = 0; i < 12; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    RequestSpec spec = make_spec(some_tokens(1 + (i * 7) % 20, seed), 30);
    spec.sampling.do_sample = i >= 4;
    spec.seed = seed;
    if (i % 2 == 1) {
      spec.sampling.repetition_penalty = 1.4;
      spec.sampling.no_repeat_ngram_size = 2;
    }
    const Tokens plain = run_alone({spec})[0];
    out.wanted.push_back(plain);
    Tokens oracle = spec.tokens;
    oracle.insert(oracle.end(), plain.begin(), plain.end());
    const auto shape = i % 2 == 0 ? Drafting::Shape::tree : Drafting::Shape::chain;
    spec.policy = std::make_shared<Drafting>(shape, std::move(oracle), seed);
    if (i % 3 == 2) spec.policy = std::make_shared<Replacing>(1 + i, true);
    out.specs.push_back(std::move(spec));
  }
  return out;
}

TEST(EnginePolicies, DraftsAndReplacementsAreLossless) {
  const Drafted drafted = drafted_specs();
  EXPECT_EQ(run_alone(drafted.specs), drafted.wanted);
  for (const std::int64_t chunk : {0, 1, 3, 64}) {
    Rig rig;
    rig.engine->chunk_budget().fix(chunk);
    EXPECT_EQ(run(rig, drafted.specs), drafted.wanted) << "chunk " << chunk;
    rig.expect_empty();
  }
}

TEST(EnginePolicies, DraftsAreAccepted) {
  const Drafted drafted = drafted_specs();
  Rig rig;
  Job job(rig.engine);
  job.add(drafted.specs[0]);
  job.advance(Until::done, no_poll);
  EXPECT_LT(job.stats().decode_forwards, 20);
  EXPECT_EQ(job.stats().counters.generated_tokens, 30);
}

TEST(EnginePolicies, PreemptionAfterEveryStepChangesNothing) {
  const Drafted drafted = drafted_specs();
  Rig rig;
  rig.engine->chunk_budget().fix(64);
  // Rows that replace slots never share a step with the rows that fill them, so those get two
  // steps.
  std::vector<RequestSpec> replacing;
  std::vector<Tokens> replaced;
  std::vector<RequestSpec> drafting;
  std::vector<Tokens> wanted;
  for (std::size_t i = 0; i < drafted.specs.size(); ++i) {
    const bool replaces = i % 3 == 2;
    (replaces ? replacing : drafting).push_back(drafted.specs[i]);
    (replaces ? replaced : wanted).push_back(drafted.wanted[i]);
  }
  EXPECT_EQ(run(rig, drafting, [&] { rig.preempt_all(); }), wanted);
  int step = 0;
  EXPECT_EQ(run(rig, replacing,
                [&] {
                  if (step++ % 2 == 0) rig.preempt_all();
                }),
            replaced);
  rig.expect_empty();
}

TEST(EnginePolicies, SmallCachesChangeNothing) {
  const Drafted drafted = drafted_specs();
  // 50 tokens and 70 drafted ones.
  for (const std::int64_t num_pages : {31, 35, 40, 60, 90}) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Rig rig(num_pages);
      rig.engine->chunk_budget().fix(seed % 2 == 0 ? 0 : 30);
      std::uint64_t step = 0;
      EXPECT_EQ(run(rig, drafted.specs,
                    [&] {
                      if (mix64(seed, step++) % 7 == 0) rig.preempt_all();
                    }),
                drafted.wanted);
      rig.expect_empty();
    }
  }
}

TEST(EnginePolicies, SequencesThatReplaceSharedSlotsGetTheirOwn) {
  RequestSpec spec = make_spec(some_tokens(14, 3), 12);
  const Tokens greedy = run_alone({spec})[0];
  spec.num_sequences = 4;
  spec.policy = std::make_shared<Replacing>(9, true);
  Rig rig;
  for (const Tokens& tokens : run(rig, {spec})) EXPECT_EQ(tokens, greedy);
  rig.expect_empty();
}

TEST(EnginePolicies, KeptReplacementsAreSeenLater) {
  RequestSpec spec = make_spec(some_tokens(14, 3), 12);
  const Tokens greedy = run_alone({spec})[0];
  spec.policy = std::make_shared<Replacing>(9, false);
  const Tokens spoilt = run_alone({spec})[0];
  EXPECT_EQ(spoilt[0], greedy[0]);
  EXPECT_NE(spoilt, greedy);
}

// Writes everything at once: every row sees every other, more tokens than are left.
class Oneshot final : public Policy {
 public:
  std::int64_t required_cache(const BranchView&, const PolicyState&, Role) const override {
    return 0;
  }
  Plan plan(const BranchView& view, const PolicyState&) const override {
    Plan plan;
    Segment& segment = plan.segments.emplace_back();
    for (std::int64_t i = 0; i < view.max_length; ++i) {
      const bool is_known = i < std::ssize(view.tokens);
      Row row = causal_row(is_known ? view.tokens[static_cast<std::size_t>(i)] : 0, i, 0);
      if (!is_known) row.ask.kind = AskKind::confidence;
      segment.rows.push_back(row);
    }
    return plan;
  }
  Commit advance(const BranchView&, PolicyState&, const Plan&, Readout& readout) const override {
    Commit commit;
    for (RowReadout& answer : readout.segments.at(0))
      commit.tokens.push_back({answer.token, answer});
    commit.tokens.push_back(commit.tokens.back());
    return commit;
  }
};

TEST(EnginePolicies, BidirectionalSegmentsNeedNoCache) {
  std::vector<RequestSpec> specs;
  for (std::int64_t i = 1; i < 6; ++i) {
    specs.push_back(make_spec(some_tokens(i, 4), 7));
    specs.back().policy = std::make_shared<Oneshot>();
    specs.push_back(make_spec(some_tokens(i, 4), 7));
  }
  const auto wanted = run_alone(specs);
  EXPECT_EQ(wanted[0].size(), 7u) << "no more than the length";
  for (const std::int64_t num_pages : {4, 9, 1000}) {
    Rig rig(num_pages);
    EXPECT_EQ(run(rig, specs), wanted);
    rig.expect_empty();
  }
}

// The last token of the fake vocabulary stands for the mask.
constexpr Token kMask = FakeModel::kVocab - 1;

PolicyOptions masked_diffusion_options() {
  return {{"schedule", std::vector<std::int64_t>(20, 1)},
          {"block_length", std::int64_t{0}},
          {"fixed_steps", false},
          {"order", std::string("confidence")},
          {"confidence", std::string("raw_probability")},
          {"order_temperature", 0.0},
          {"threshold", 0.0},
          {"factor", 0.0},
          {"factor_quirk", false},
          {"steps", std::int64_t{20}},
          {"epsilon", 1e-3},
          {"latent_tokens", std::int64_t{-1}},
          {"candidates", std::int64_t{0}},
          {"cache", std::string("none")},
          {"opens_with_first", false},
          {"deferred", std::vector<std::int64_t>{}}};
}

constexpr std::int64_t kBlockLength = 4;

PolicyOptions block_diffusion_options() {
  return {{"block_length", kBlockLength},
          {"window", kBlockLength},
          {"steps", kBlockLength},
          {"min_transfer", std::int64_t{1}},
          {"order", std::string("dynamic")},
          {"confidence", std::string("raw_probability")},
          {"threshold", 0.1},
          {"edit_threshold", 0.1},
          {"max_post_steps", std::int64_t{2}},
          {"overwrites", false},
          {"greedy_first", false}};
}

PolicyOptions speculative_options() {
  return {{"verification", std::string("block")},
          {"num_tokens", std::int64_t{3}},
          {"depth", std::int64_t{3}},
          {"width", std::int64_t{1}},
          {"dynamic", false},
          {"adaptive", true},
          {"repeatable", true},
          {"costs", std::vector<std::int64_t>{100, 101}},
          {"token_cost", 0.0},
          {"round_cost", 0.0},
          {"typical_epsilon", 0.09},
          {"typical_delta", 0.3},
          {"synthetic_acceptance", 0.0}};
}

// Options with which a registered policy can be made.
PolicyOptions options_of(const std::string& name) {
  if (name == "feed") return {{"ask", std::string("prob_of")}, {"start", std::int64_t{1}}};
  if (name == "latent_autoregressive") return {{"window", std::int64_t{3}}};
  if (name == "masked_diffusion") return masked_diffusion_options();
  if (name == "block_diffusion") return block_diffusion_options();
  if (name == "speculative") return speculative_options();
  if (name == "strided") return {{"stride", std::int64_t{3}}, {"exact", true}, {"row_cost", 0.0}};
  return {};
}

// The model reads masks where the policy needs them.
void prepare(Rig& rig, const std::string& name) {
  ModelConfig& config = rig.model->config();
  if (name == "strided") config.mask_token_id = kMask;
  const bool has_blocks = name == "block_diffusion";
  if (!has_blocks && name != "masked_diffusion" && name != "latent_autoregressive") return;
  config.attention = has_blocks ? AttentionKind::block_causal : AttentionKind::full;
  config.block_length = has_blocks ? kBlockLength : 0;
  config.shifted = false;
  config.mask_token_id = kMask;
}

TEST(EnginePolicies, EveryRegisteredOneEndsAndIgnoresItsBatchMates) {
  for (const std::string& name : policy_names()) {
    std::vector<RequestSpec> specs = mixed_specs();
    const auto drafter = std::make_shared<RandomTokens>(FakeModel::kVocab);
    for (RequestSpec& spec : specs) {
      spec.policy = make_policy(name, options_of(name));
      if (name == "speculative") spec.drafter = drafter;
      if (spec.tokens.size() < 2) spec.tokens = {1, 2};
      spec.sampling.suppress_tokens = {kMask};
      for (Token& token : spec.tokens) token %= kMask;
      // Blocks of both contexts must fall on each other.
      if (name == "block_diffusion") spec.negative_tokens.clear();
    }
    std::vector<Tokens> wanted;
    for (const RequestSpec& spec : specs) {
      Rig rig;
      prepare(rig, name);
      for (Tokens& tokens : run(rig, {spec})) wanted.push_back(std::move(tokens));
    }
    for (const std::int64_t chunk : {0, 1, 7}) {
      for (const std::int64_t num_pages : {20, 1000}) {
        Rig rig(num_pages, 2);
        prepare(rig, name);
        rig.engine->chunk_budget().fix(chunk);
        EXPECT_EQ(run(rig, specs), wanted) << name;
        rig.expect_empty();
      }
    }
    Rig rig;
    prepare(rig, name);
    rig.engine->chunk_budget().fix(64);
    EXPECT_EQ(run(rig, specs, [&] { rig.preempt_all(); }), wanted) << name;
    std::size_t next = 0;
    for (const RequestSpec& spec : specs) {
      for (const Tokens& tokens : run(rig, {spec})) EXPECT_EQ(tokens, wanted.at(next++)) << name;
    }
  }
}

TEST(EnginePolicies, UnknownNamesAndOptionsAreRefused) {
  EXPECT_THROW(make_policy("no such policy", {}), ValueError);
  EXPECT_THROW(make_policy("autoregressive", {{"no such option", true}}), ValueError);
  EXPECT_THROW(make_policy("feed", {{"ask", std::string("nothing")}, {"start", std::int64_t{0}}}),
               ValueError);
  EXPECT_THROW(make_policy("feed", {{"ask", std::string("prob_of")}, {"start", std::int64_t{0}}}),
               ValueError);
}

// Every way to fill a canvas: windows, caches that are lost and made again, latents, orders.
std::vector<PolicyOptions> canvas_options() {
  std::vector<PolicyOptions> all;
  for (const char* cache : {"none", "prefix", "dual"}) {
    all.push_back(masked_diffusion_options());
    all.back()["cache"] = std::string(cache);
    all.back()["block_length"] = std::int64_t{4};
  }
  for (const char* order : {"random", "left_to_right", "independent"}) {
    all.push_back(masked_diffusion_options());
    all.back()["order"] = std::string(order);
  }
  all.push_back(masked_diffusion_options());
  all.back()["latent_tokens"] = std::int64_t{2};
  all.back()["candidates"] = std::int64_t{3};
  all.push_back(masked_diffusion_options());
  all.back()["threshold"] = 0.06;
  all.back()["order_temperature"] = 0.5;
  return all;
}

TEST(EngineCanvas, PreemptionAndBatchMatesChangeNothing) {
  for (const AttentionKind attention : {AttentionKind::full, AttentionKind::semi_causal}) {
    for (const PolicyOptions& options : canvas_options()) {
      const bool caches = std::get<std::string>(options.at("cache")) != "none";
      if (caches && attention == AttentionKind::semi_causal) continue;
      std::vector<RequestSpec> specs;
      for (std::int64_t i = 0; i < 6; ++i) {
        specs.push_back(make_spec(some_tokens(2 + i * 3, static_cast<std::uint64_t>(i)), 8 + i % 3,
                                  i % 2 == 1, static_cast<std::uint64_t>(i)));
        for (Token& token : specs.back().tokens) token %= kMask;
        specs.back().policy = make_policy("masked_diffusion", options);
        specs.back().sampling.suppress_tokens = {kMask};
        if (i == 3) specs.back().guidance_scale = 1.5f;
        if (i == 4) specs.back().tokens[1] = kMask;  // infilling
        if (i == 5) specs.back().num_sequences = 2;
      }
      const auto run_with = [&](std::int64_t num_pages, bool preempts) {
        Rig rig(num_pages, 2);
        prepare(rig, "masked_diffusion");
        rig.model->config().attention = attention;
        std::uint64_t step = 0;
        const auto poll = [&] {
          // A reopened window needs a forward before it can go on.
          if (preempts && step++ % 2 == 0) rig.preempt_all();
        };
        const auto tokens = run(rig, specs, poll);
        rig.expect_empty();
        return tokens;
      };
      const auto wanted = run_with(1000, false);
      EXPECT_EQ(run_with(1000, true), wanted);
      EXPECT_EQ(run_with(30, false), wanted);
      for (std::size_t i = 0; i < 3; ++i) {
        Rig rig;
        prepare(rig, "masked_diffusion");
        rig.model->config().attention = attention;
        EXPECT_EQ(run(rig, {specs[i]}).front(), wanted[i]);
      }
    }
  }
}

}  // namespace
}  // namespace foresight::engine_test
