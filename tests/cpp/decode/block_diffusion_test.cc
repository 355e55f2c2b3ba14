// Block diffusion over the fake model: it ends, its forwards are those it needs, and neither batch
// mates nor preemption nor a shared prompt change a token.
#include <gtest/gtest.h>

#include "cpp/engine/rig.h"

namespace foresight::engine_test {
namespace {

constexpr Token kMask = FakeModel::kVocab - 1;

struct Shape {
  std::int64_t block_length = 4;
  bool shifted = false;
};

struct BlockRig : Rig {
  explicit BlockRig(Shape shape, std::int64_t num_pages = 1000, int num_threads = 1)
      : Rig(num_pages, num_threads) {
    model->config().attention = AttentionKind::block_causal;
    model->config().block_length = shape.block_length;
    model->config().shifted = shape.shifted;
    model->config().mask_token_id = kMask;
  }
};

PolicyOptions options_for(Shape shape) {
  return {{"block_length", shape.block_length},
          {"window", shape.block_length},
          {"steps", shape.block_length},
          {"min_transfer", std::int64_t{1}},
          {"order", std::string("dynamic")},
          {"confidence", std::string("raw_probability")},
          {"threshold", 0.12},
          {"edit_threshold", -1.0},
          {"max_post_steps", std::int64_t{16}},
          {"overwrites", false},
          {"greedy_first", false}};
}

// Tokens without masks; the fake model's rows never propose one.
RequestSpec block_spec(const PolicyOptions& options, Tokens prompt, std::int64_t max_new_tokens,
                       bool do_sample = false, std::uint64_t seed = 0) {
  RequestSpec spec = make_spec(std::move(prompt), max_new_tokens, do_sample, seed);
  spec.sampling.suppress_tokens = {kMask};
  spec.policy = make_policy("block_diffusion", options);
  return spec;
}

Tokens given(std::int64_t length, std::uint64_t seed) {
  Tokens tokens = some_tokens(length, seed);
  for (Token& token : tokens) token %= kMask;
  return tokens;
}

// Prompts of every alignment, with masks here and there, greedy and sampled.
std::vector<RequestSpec> block_specs(const PolicyOptions& options, Shape shape) {
  std::vector<RequestSpec> specs;
  for (std::int64_t i = 0; i < 10; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    Tokens prompt = given(1 + (i * 5) % 17, seed);
    if (i == 4 || i == 7) {
      for (std::size_t at = 1; at < prompt.size(); at += 3) prompt[at] = kMask;
    }
    specs.push_back(block_spec(options, std::move(prompt), 1 + (i * 7) % 13, i % 2 == 1, seed));
  }
  specs[2].num_sequences = 3;
  specs[5].num_sequences = 4;
  specs[7].num_sequences = 2;
  specs[3].guidance_scale = 1.7f;
  specs[6].guidance_scale = 2.5f;
  specs[6].negative_tokens = given(std::ssize(specs[6].tokens) + shape.block_length, 77);
  specs[8].sampling.eos_token_ids = {1, 2, 3, 4, 5};
  return specs;
}

// Every new token of every sequence, in order.
std::vector<Tokens> decode(Rig& rig, const std::vector<RequestSpec>& specs,
                           FunctionRef<void()> poll = no_poll) {
  Job job(rig.engine);
  for (const RequestSpec& spec : specs) job.add(spec);
  job.advance(Until::done, poll);
  std::vector<Tokens> out;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::int64_t j = 0; j < specs[i].num_sequences; ++j) {
      const Branch& branch = job.branch(static_cast<std::int64_t>(i), j);
      Tokens& tokens = out.emplace_back();
      for (std::int64_t n = 0; n < branch.num_final; ++n) tokens.push_back(branch.new_token(n));
      EXPECT_TRUE(branch.stop == StopReason::eos ||
                  branch.num_final == std::ssize(branch.new_positions));
      EXPECT_EQ(std::count(tokens.begin(), tokens.end(), kMask), 0);
      for (std::size_t p = 0; p < specs[i].tokens.size(); ++p) {
        if (specs[i].tokens[p] != kMask) {
          EXPECT_EQ(branch.tokens[p], specs[i].tokens[p]);
        }
      }
    }
  }
  rig.check_integrity();
  return out;
}

std::vector<Tokens> decode_alone(const std::vector<RequestSpec>& specs, Shape shape) {
  std::vector<Tokens> out;
  for (const RequestSpec& spec : specs) {
    BlockRig rig(shape);
    for (Tokens& tokens : decode(rig, {spec})) out.push_back(std::move(tokens));
  }
  return out;
}

struct Case {
  std::string name;
  Shape shape;
  PolicyOptions options;
};

std::vector<Case> cases() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, Shape shape, PolicyOptions changes) {
    PolicyOptions options = options_for(shape);
    for (auto& [key, value] : changes) options[key] = std::move(value);
    cases.push_back({name, shape, std::move(options)});
  };
  add("dynamic", {}, {});
  add("dynamic with a floor", {.block_length = 8}, {{"min_transfer", std::int64_t{3}}});
  add("sequential", {}, {{"order", std::string("sequential")}, {"steps", std::int64_t{2}}});
  add("static", {.block_length = 8},
      {{"order", std::string("static")}, {"steps", std::int64_t{3}}});
  add("entropy", {.block_length = 8},
      {{"order", std::string("entropy_bound")},
       {"confidence", std::string("entropy")},
       {"threshold", 3.0}});
  add("editing", {.block_length = 8}, {{"edit_threshold", 0.1}});
  add("editing, two rounds", {.block_length = 8},
      {{"edit_threshold", 0.0}, {"max_post_steps", std::int64_t{2}}});
  add("shifted", {.block_length = 4, .shifted = true}, {});
  add("shifted sub-blocks", {.block_length = 8, .shifted = true},
      {{"window", std::int64_t{2}}, {"steps", std::int64_t{2}}});
  add("blocks of one", {.block_length = 1, .shifted = true}, {});
  add("blocks of one, not shifted", {.block_length = 1}, {});
  return cases;
}

TEST(BlockDiffusion, IgnoresBatchMatesChunksAndSmallCaches) {
  for (const Case& c : cases()) {
    const auto specs = block_specs(c.options, c.shape);
    const auto wanted = decode_alone(specs, c.shape);
    EXPECT_EQ(decode_alone(specs, c.shape), wanted) << c.name;
    for (const std::int64_t chunk : {0, 3, 64}) {
      for (const std::int64_t num_pages : {20, 1000}) {
        BlockRig rig(c.shape, num_pages, 2);
        rig.engine->chunk_budget().fix(chunk);
        EXPECT_EQ(decode(rig, specs), wanted) << c.name << ", chunk " << chunk;
        rig.expect_empty();
      }
    }
  }
}

TEST(BlockDiffusion, PreemptionAfterEveryStepChangesNothing) {
  for (const Case& c : cases()) {
    const auto specs = block_specs(c.options, c.shape);
    BlockRig rig(c.shape);
    rig.engine->chunk_budget().fix(64);
    EXPECT_EQ(decode(rig, specs, [&] { rig.preempt_all(); }), decode_alone(specs, c.shape))
        << c.name;
    rig.expect_empty();
  }
}

TEST(BlockDiffusion, FirstSequenceIsThatOfASingleOne) {
  for (const Case& c : cases()) {
    RequestSpec spec = block_spec(c.options, given(11, 3), 9, true, 5);
    const Tokens single = decode_alone({spec}, c.shape)[0];
    spec.num_sequences = 3;
    const auto several = decode_alone({spec}, c.shape);
    EXPECT_EQ(several[0], single) << c.name;
    EXPECT_NE(several[1], single) << c.name;
  }
}

std::int64_t forwards_of(const PolicyOptions& options, Shape shape, std::int64_t prompt_length,
                         std::int64_t max_new_tokens) {
  BlockRig rig(shape);
  rig.engine->chunk_budget().fix(1000);
  decode(rig, {block_spec(options, given(prompt_length, 1), max_new_tokens)});
  return rig.model->num_forwards;
}

TEST(BlockDiffusion, RunsNoForwardThatChangesNothing) {
  const Shape shape{.block_length = 8};
  PolicyOptions options = options_for(shape);
  options["order"] = std::string("static");
  // Eight positions in three forwards; the prompt and finished blocks ride along.
  options["steps"] = std::int64_t{3};
  EXPECT_EQ(forwards_of(options, shape, 24, 24), 9);
  // Three masks in the first block, of which a forward takes at least three.
  EXPECT_EQ(forwards_of(options, shape, 29, 3), 1);
  options["steps"] = std::int64_t{100};
  EXPECT_EQ(forwards_of(options, shape, 24, 8), 8);
  // An edit that is never sure enough still needs a look, but for no post steps at all.
  options["steps"] = std::int64_t{2};
  options["edit_threshold"] = 1.0;
  EXPECT_EQ(forwards_of(options, shape, 24, 16), 6);
  options["max_post_steps"] = std::int64_t{0};
  EXPECT_EQ(forwards_of(options, shape, 24, 16), 4);
  // Edits without end stop at the limit.
  options["edit_threshold"] = 0.0;
  options["max_post_steps"] = std::int64_t{5};
  EXPECT_EQ(forwards_of(options, shape, 24, 16), 14);
}

TEST(BlockDiffusion, AShiftedBlockCostsOneForwardMore) {
  const Shape shape{.block_length = 8, .shifted = true};
  PolicyOptions options = options_for(shape);
  options["order"] = std::string("static");
  options["steps"] = std::int64_t{2};
  EXPECT_EQ(forwards_of(options, shape, 24, 16), 6);
  EXPECT_EQ(forwards_of(options, shape, 24, 1), 1) << "the prompt's last row decides it";
  EXPECT_EQ(forwards_of(options, shape, 25, 7), 2);
}

TEST(BlockDiffusion, CountsMaskRows) {
  const Shape shape{.block_length = 8};
  PolicyOptions options = options_for(shape);
  options["order"] = std::string("static");
  options["steps"] = std::int64_t{4};
  options["window"] = std::int64_t{4};
  BlockRig rig(shape);
  Job job(rig.engine);
  job.add(block_spec(options, given(8, 1), 8));
  job.advance(Until::done, no_poll);
  const Counters& counters = job.branch(0, 0).counters;
  EXPECT_EQ(counters.latent_rows, 4 * 4);
  EXPECT_EQ(counters.candidate_rows, 2 * (3 + 2 + 1));
  EXPECT_EQ(counters.generated_tokens, 8);
  EXPECT_EQ(counters.rows, 8 + 8 * 8);
}

TEST(BlockDiffusion, EditsAreFinalOnlyWithTheirBlock) {
  const Shape shape{.block_length = 8};
  PolicyOptions options = options_for(shape);
  options["edit_threshold"] = 0.0;
  options["max_post_steps"] = std::int64_t{3};
  BlockRig rig(shape);
  Job job(rig.engine);
  job.add(block_spec(options, given(5, 1), 19));
  std::int64_t reported = 0;
  while (!job.done()) {
    for (const JobEvent& event : job.advance(Until::step, no_poll)) {
      EXPECT_EQ(event.first_new, reported);
      reported += event.num_new;
      if (event.num_new > 0) {
        EXPECT_EQ((5 + reported) % 8, 0);
      }
    }
  }
  EXPECT_EQ(reported, 19);
}

TEST(BlockDiffusion, OverwritingMayChangeWhatWasGiven) {
  const Shape shape{.block_length = 8};
  PolicyOptions options = options_for(shape);
  options["order"] = std::string("static");
  options["steps"] = std::int64_t{1};
  options["confidence"] = std::string("certain");
  options["overwrites"] = true;
  BlockRig rig(shape);
  Job job(rig.engine);
  const Tokens prompt = given(13, 2);
  job.add(block_spec(options, prompt, 3));
  job.advance(Until::done, no_poll);
  const Branch& branch = job.branch(0, 0);
  EXPECT_EQ(Tokens(branch.tokens.begin(), branch.tokens.begin() + 8),
            Tokens(prompt.begin(), prompt.begin() + 8));
  EXPECT_NE(Tokens(branch.tokens.begin() + 8, branch.tokens.begin() + 13),
            Tokens(prompt.begin() + 8, prompt.end()));
}

TEST(BlockDiffusion, RefusesWindowsThatDoNotFit) {
  PolicyOptions options = options_for({.block_length = 8});
  options["window"] = std::int64_t{3};
  EXPECT_THROW(make_policy("block_diffusion", options), ValueError);
  options["window"] = std::int64_t{8};
  options["steps"] = std::int64_t{0};
  EXPECT_THROW(make_policy("block_diffusion", options), ValueError);
}

TEST(BlockDiffusion, AProposedMaskIsRefused) {
  BlockRig rig(Shape{});
  Job job(rig.engine);
  RequestSpec spec = block_spec(options_for(Shape{}), given(3, 1), 20);
  spec.sampling.suppress_tokens.clear();
  for (Token token = 0; token < kMask; ++token) spec.sampling.suppress_tokens.push_back(token);
  job.add(spec);
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
}

}  // namespace
}  // namespace foresight::engine_test
