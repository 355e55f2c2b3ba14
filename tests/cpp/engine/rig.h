// An engine over the fake model, and short ways to ask it for things.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "cpp/engine/fake_model.h"
#include "decode/policies.h"
#include "engine/job.h"

namespace foresight::engine_test {

using Tokens = std::vector<Token>;

inline constexpr auto no_poll = [] {};

// `length` tokens that depend on the seed.
inline Tokens some_tokens(std::int64_t length, std::uint64_t seed) {
  Tokens tokens;
  for (std::int64_t i = 0; i < length; ++i) {
    const std::uint64_t bits = mix64(seed, static_cast<std::uint64_t>(i));
    tokens.push_back(static_cast<Token>(bits % FakeModel::kVocab));
  }
  return tokens;
}

struct Rig {
  explicit Rig(std::int64_t num_pages = 1000, int num_threads = 1) {
    auto runtime = std::make_unique<CpuRuntime>(num_threads);
    auto fake = std::make_unique<FakeModel>();
    model = fake.get();
    engine = std::make_shared<Engine>(std::move(runtime), std::move(fake),
                                      static_cast<std::size_t>(num_pages) * FakeModel::kPageBytes);
  }

  void check_integrity() const {
    const std::lock_guard guard(engine->step_mutex());
    engine->cache().check_integrity();
  }
  std::int64_t used_pages() const {
    const std::lock_guard guard(engine->step_mutex());
    return engine->cache().num_used_pages();
  }
  void preempt_all() const {
    const std::lock_guard guard(engine->step_mutex());
    engine->preempt_all();
  }
  // Nothing is held by anybody.
  void expect_empty() const {
    check_integrity();
    EXPECT_EQ(used_pages(), 0);
    const std::lock_guard guard(engine->step_mutex());
    EXPECT_EQ(engine->cache().num_sequences(), 0);
  }

  FakeModel* model = nullptr;
  std::shared_ptr<Engine> engine;
};

inline RequestSpec make_spec(Tokens tokens, std::int64_t max_new_tokens, bool do_sample = false,
                             std::uint64_t seed = 0) {
  RequestSpec spec;
  spec.tokens = std::move(tokens);
  spec.max_new_tokens = max_new_tokens;
  spec.sampling.do_sample = do_sample;
  spec.seed = seed;
  spec.policy = make_policy("autoregressive", {});
  return spec;
}

inline Tokens new_tokens(const Job& job, std::int64_t request, std::int64_t sequence = 0) {
  const Branch& branch = job.branch(request, sequence);
  return {branch.tokens.begin() + branch.prompt_length, branch.tokens.end()};
}

// Runs the requests in one job and returns the new tokens, request by request, sequence by
// sequence.
inline std::vector<Tokens> run(Rig& rig, const std::vector<RequestSpec>& specs,
                               FunctionRef<void()> poll = no_poll) {
  Job job(rig.engine);
  for (const RequestSpec& spec : specs) job.add(spec);
  job.advance(Until::done, poll);
  EXPECT_TRUE(job.done());
  std::vector<Tokens> out;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::int64_t j = 0; j < specs[i].num_sequences; ++j) {
      out.push_back(new_tokens(job, static_cast<std::int64_t>(i), j));
    }
  }
  rig.check_integrity();
  return out;
}

// Each request in a job of its own, on a fresh engine with room for everything.
inline std::vector<Tokens> run_alone(const std::vector<RequestSpec>& specs) {
  std::vector<Tokens> out;
  for (const RequestSpec& spec : specs) {
    Rig rig;
    for (Tokens& tokens : run(rig, {spec})) out.push_back(std::move(tokens));
  }
  return out;
}

// Requests of many lengths, greedy and sampled, with several sequences, guidance and processors.
inline std::vector<RequestSpec> mixed_specs() {
  std::vector<RequestSpec> specs;
  for (std::int64_t i = 0; i < 9; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    specs.push_back(
        make_spec(some_tokens(1 + (i * 5) % 17, seed), 1 + (i * 7) % 13, i % 2 == 1, seed));
  }
  specs[2].num_sequences = 3;
  specs[5].num_sequences = 4;
  specs[3].guidance_scale = 1.7f;
  specs[4].guidance_scale = 2.5f;
  specs[4].negative_tokens = some_tokens(7, 77);
  specs[6].sampling.repetition_penalty = 1.3;
  specs[7].sampling.top_k = 5;
  specs[7].num_sequences = 2;
  specs[7].guidance_scale = 0.5f;
  return specs;
}

}  // namespace foresight::engine_test
