// Branches under control within the decode loop: what is decided does not depend on memory, chunks
// or probes, and nothing stays behind.
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "cpp/engine/control_rig.h"
#include "cpp/engine/test_policies.h"
#include "engine/session.h"

namespace foresight::engine_test {
namespace {

std::shared_ptr<Controller> named(const std::string& name, const Options& options) {
  return make_controller(name, options);
}

// Decodes several tokens per step: drafts that are right whenever the first branch is followed.
std::shared_ptr<const Policy> drafting(const RequestSpec& spec) {
  RequestSpec plain = spec;
  plain.control.reset();
  Tokens oracle = spec.tokens;
  const std::vector<Tokens> written = run_alone({plain});
  oracle.insert(oracle.end(), written[0].begin(), written[0].end());
  return std::make_shared<Drafting>(Drafting::Shape::chain, oracle, 5);
}

TEST(BranchControl, SequencesAreThoseOfPlainSampling) {
  RequestSpec plain = controlled(nullptr, 9, 20, 3);
  plain.control.reset();
  plain.num_sequences = 8;
  const std::vector<Tokens> wanted = run_alone({plain});
  Rig rig;
  const Told all = run_controlled(
      rig, controlled(named("self_consistency", {{"width", std::int64_t{8}}}), 9, 20, 3));
  ASSERT_EQ(all.branches.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(all.branches[i].tokens, wanted[i]);
    EXPECT_EQ(all.branches[i].status, "finished");
    EXPECT_EQ(all.branches[i].answer, LastToken::of(wanted[i]).value_or("none"));
  }
}

TEST(BranchControl, ProbesLeaveBranchesAloneAndReadWhatAPromptOfTheirOwnWould) {
  for (const bool drafts : {false, true}) {
    for (const std::int64_t num_pages : {1000, 16}) {
      RequestSpec without = controlled(std::make_shared<Scripted>(5), 6, 25, 4);
      RequestSpec with =
          controlled(std::make_shared<Scripted>(5, Needs{.probe_interval = 3}), 6, 25, 4);
      if (drafts) without.policy = with.policy = drafting(without);
      Rig rig(num_pages);
      const Told plain = run_controlled(rig, without);
      Job::Stats stats;
      const Told probed = run_controlled(rig, with, &stats);
      std::int64_t num_probes = 0;
      ASSERT_EQ(probed.branches.size(), plain.branches.size());
      for (std::size_t i = 0; i < plain.branches.size(); ++i) {
        const Told::Ended& branch = probed.branches[i];
        EXPECT_EQ(branch.tokens, plain.branches[i].tokens);
        EXPECT_EQ(std::ssize(branch.probes), (std::ssize(branch.tokens) - 1) / 3);
        for (const auto& [at, answer] : branch.probes)
          EXPECT_EQ(answer, probe_by_hand(with.tokens, branch.tokens, at)) << i << " at " << at;
        num_probes += std::ssize(branch.probes);
      }
      EXPECT_GT(num_probes, 5);
      EXPECT_GT(stats.counters.probe_tokens, num_probes * std::ssize(probe_suffix()));
      EXPECT_LE(stats.counters.probe_tokens,
                num_probes * (std::ssize(probe_suffix()) + kProbeTokens));
    }
  }
}

// What is asked for behind the back of a probe that was begun ahead of the clock.
TEST(BranchControl, AProbeAskedForComesBeforeOnesBegunAhead) {
  auto controller = std::make_shared<Scripted>(6, Needs{.interval = 2, .probe_interval = 7});
  controller->passed = [](const BranchesView& view, std::int32_t, Actions& actions) {
    for (std::int32_t i = 0; i < view.size(); ++i) {
      if (view[i].is_running() && view.clock() % 7 != 0) actions.probe(i);
    }
  };
  RequestSpec spec = controlled(controller, 6, 20, 4);
  spec.sampling.eos_token_ids.clear();
  spec.policy = drafting(spec);
  Rig rig;
  const Told all = run_controlled(rig, spec);
  for (const Told::Ended& branch : all.branches) {
    std::vector<std::int64_t> at;
    for (const auto& [num_tokens, answer] : branch.probes) at.push_back(num_tokens);
    EXPECT_EQ(at, (std::vector<std::int64_t>{2, 4, 6, 7, 8, 10, 12, 14, 16, 18}));
  }
}

TEST(BranchControl, KilledBranchesMakeRoomInTheSameStep) {
  // The prompt takes 4 pages, of which 3 are shared; two of its own make 5 tokens of a branch.
  Rig rig(8);
  bool is_pruned = false;
  auto controller = std::make_shared<Scripted>(3, Needs{.interval = 3});
  controller->passed = [&](const BranchesView& view, std::int32_t, Actions& actions) {
    if (!is_pruned && view[0].is_running()) actions.prune(0, "enough");
    is_pruned = true;
  };
  RequestSpec spec = controlled(controller, 16, 16, 2, EventOrder::arrival);
  spec.sampling.eos_token_ids.clear();
  Job job(rig.engine);
  job.add(spec);
  while (!is_pruned) {
    EXPECT_EQ(job.branch(0, 2).counters.rows, 0) << "there is room for two";
    job.advance(Until::step, no_poll);
  }
  EXPECT_FALSE(job.branch(0, 0).holds_pages());
  EXPECT_EQ(job.branch(0, 0).num_new_tokens(), 3);
  EXPECT_GT(job.branch(0, 2).counters.rows, 0);
  job.advance(Until::done, no_poll);
  EXPECT_EQ(told(job, 0).branches[0].reason, "enough");
}

TEST(BranchControl, ForksGoOnAsTheirParentWould) {
  for (const bool drafts : {false, true}) {
    for (const std::int32_t top_k : {1, 0}) {
      for (const std::int64_t num_pages : {1000, 12}) {
        auto controller = std::make_shared<Scripted>(1, Needs{.interval = 5});
        controller->passed = [&](const BranchesView& view, std::int32_t, Actions& actions) {
          if (view.clock() == 5 && view[0].is_running()) actions.fork(0), actions.fork(0);
        };
        RequestSpec spec = controlled(controller, 5, 19, 11);
        spec.sampling.eos_token_ids.clear();
        spec.sampling.top_k = top_k;
        spec.guidance_scale = num_pages == 12 ? 1.0f : 1.5f;
        if (drafts && spec.guidance_scale == 1.0f) spec.policy = drafting(spec);
        Rig rig(num_pages);
        Job::Stats stats;
        const Told all = run_controlled(rig, spec, &stats);
        ASSERT_EQ(all.branches.size(), 3u);
        const Tokens& parent = all.branches[0].tokens;
        for (const std::size_t child : {1u, 2u}) {
          const Tokens& tokens = all.branches[child].tokens;
          ASSERT_EQ(tokens.size(), 19u);
          EXPECT_TRUE(std::equal(parent.begin(), parent.begin() + 5, tokens.begin()));
          EXPECT_EQ(tokens == parent, top_k == 1) << "draws of its own";
        }
        EXPECT_EQ(all.branches[1].tokens == all.branches[2].tokens, top_k == 1);
        EXPECT_EQ(stats.counters.generated_tokens, 19 + 2 * 14);
        EXPECT_EQ(all.clock, 19);
      }
    }
  }
}

TEST(BranchControl, AForkOfAnEndedBranchHasEnded) {
  auto controller = std::make_shared<Scripted>(2);
  controller->finished = [](const BranchesView& view, std::int32_t branch, Actions& actions) {
    if (branch == 0 && view[1].is_running()) actions.fork(1);
  };
  RequestSpec spec = controlled(controller, 5, 8, 11);
  spec.sampling.eos_token_ids.clear();
  Rig rig;
  const Told all = run_controlled(rig, spec);
  ASSERT_EQ(all.branches.size(), 3u);
  EXPECT_EQ(all.branches[2], all.branches[1]);
  EXPECT_EQ(all.branches[2].tokens.size(), 8u);
}

TEST(BranchControl, NothingToWrite) {
  Rig rig;
  const Told all = run_controlled(
      rig, controlled(named("self_consistency", {{"width", std::int64_t{3}}}), 4, 0, 1));
  EXPECT_EQ(all.branches.size(), 3u);
  EXPECT_EQ(all.clock, 0);
  EXPECT_EQ(rig.model->num_rows, 0);
}

TEST(BranchControl, WideOnASmallCache) {
  const auto spec = [](EventOrder order) {
    const Options options{{"width", std::int64_t{64}},
                          {"interval", std::int64_t{4}},
                          {"stable", std::int64_t{3}},
                          {"patience", std::int64_t{3}},
                          {"warmup", std::int64_t{1}}};
    RequestSpec made = controlled(named("parallel_probe", options), 8, 40, 21, order);
    made.sampling.temperature = 0.7;
    return made;
  };
  // The prompt takes 2 pages, a branch 5 when the request stops, and 10 in the end.
  constexpr std::int64_t kPages = 2 + 20 * 5;
  Rig large;
  Job::Stats wanted_stats;
  const Told wanted = run_controlled(large, spec(EventOrder::virtual_time), &wanted_stats);
  EXPECT_EQ(wanted_stats.counters.recomputed_rows, 0);
  EXPECT_LT(wanted.clock, 40) << "it stops early";
  Rig unhurried;
  EXPECT_EQ(run_controlled(unhurried, spec(EventOrder::arrival)), wanted) << "all fit";

  Rig small(kPages);
  Job::Stats stats;
  EXPECT_EQ(run_controlled(small, spec(EventOrder::virtual_time), &stats), wanted);
  EXPECT_GT(stats.counters.recomputed_rows, 0);

  Rig hurried(kPages);
  Job::Stats arrival;
  run_controlled(hurried, spec(EventOrder::arrival), &arrival);
  EXPECT_LT(hurried.model->num_rows, small.model->num_rows);
  EXPECT_LT(hurried.model->num_forwards, small.model->num_forwards);
}

class Failing final : public AnswerReader {
 public:
  std::optional<std::string> read(std::span<const Token>, const std::string& where) override {
    throw ValueError(where);
  }
};

TEST(BranchControl, WhatThrowsEndsItsRequestOnly) {
  const RequestSpec other =
      controlled(named("self_consistency", {{"width", std::int64_t{3}}}), 7, 12, 6);
  RequestSpec plain = make_spec(some_tokens(5, 9), 30);
  Rig alone;
  const Told wanted = run_controlled(alone, other);
  const Tokens wanted_plain = run_alone({plain})[0];
  const auto fail = [](auto&&...) { throw std::runtime_error("no more"); };
  for (const std::string where : {"start", "probe", "finish", "interval", "reader", "no branch"}) {
    auto controller = std::make_shared<Scripted>(where == "no branch" ? 0 : 4,
                                                 Needs{.interval = 3, .probe_interval = 4});
    if (where == "start") controller->started = fail;
    if (where == "probe") controller->probed = fail;
    if (where == "finish") controller->finished = fail;
    if (where == "interval") controller->passed = fail;
    RequestSpec failing = controlled(controller, 5, 12, 3);
    if (where == "reader") failing.control->answers = std::make_shared<Failing>();
    for (const bool is_first : {true, false}) {
      Rig rig;
      Job job(rig.engine);
      if (is_first) job.add(failing);
      job.add(other);
      if (!is_first) job.add(failing);
      job.add(plain);
      const std::int64_t failed = is_first ? 0 : 1;
      EXPECT_THROW(job.advance(Until::done, no_poll), std::exception) << where;
      EXPECT_TRUE(job.control(failed).failed());
      EXPECT_FALSE(job.done());
      for (std::int64_t i = 0; i < job.num_sequences(failed); ++i) {
        EXPECT_TRUE(job.branch(failed, i).finished());
        EXPECT_FALSE(job.branch(failed, i).holds_pages());
      }
      job.advance(Until::done, no_poll);
      EXPECT_TRUE(job.done());
      EXPECT_EQ(told(job, 1 - failed), wanted) << where;
      EXPECT_EQ(new_tokens(job, 2), wanted_plain);
      EXPECT_EQ(rig.used_pages(), 0);
      job.close();
      rig.expect_empty();
    }
  }
}

TEST(BranchControl, ErrorsSayWhoseTokensWereRead) {
  RequestSpec spec =
      controlled(std::make_shared<Scripted>(2, Needs{.probe_interval = 4}), 5, 12, 3);
  spec.sampling.eos_token_ids.clear();
  spec.control->answers = std::make_shared<Failing>();
  Rig rig;
  Job job(rig.engine);
  job.add(spec);
  try {
    job.advance(Until::done, no_poll);
    FAIL();
  } catch (const ValueError& error) {
    EXPECT_STREQ(error.what(), "a probe of branch 0 of prompt 0");
  }
}

TEST(BranchControl, WhatCannotBe) {
  Rig rig;
  Job job(rig.engine);
  RequestSpec greedy =
      controlled(named("self_consistency", {{"width", std::int64_t{2}}}), 5, 12, 3);
  greedy.sampling.do_sample = false;
  job.add(greedy);
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
  RequestSpec no_suffix =
      controlled(std::make_shared<Scripted>(2, Needs{.probe_interval = 1}), 5, 12, 3);
  no_suffix.control->probe_suffix.reset();
  job.add(no_suffix);
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
  RequestSpec bad_suffix = controlled(std::make_shared<Scripted>(2), 5, 12, 3);
  bad_suffix.control->probe_suffix = Tokens{24};
  EXPECT_THROW(job.add(bad_suffix), ValueError);
  RequestSpec no_tokens = controlled(std::make_shared<Scripted>(2), 5, 12, 3);
  no_tokens.control->max_probe_tokens = 0;
  EXPECT_THROW(job.add(no_tokens), ValueError);
  RequestSpec no_group = controlled(
      std::make_shared<Scripted>(2, Needs{.confidence = true, .confidence_group = 0}), 5, 12, 3);
  EXPECT_THROW(job.add(no_group), ValueError);
  auto endless = std::make_shared<Scripted>(2);
  endless->finished = [](const BranchesView&, std::int32_t, Actions& actions) { actions.start(1); };
  job.add(controlled(endless, 2, 0, 3));
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
  EXPECT_TRUE(job.done());
  EXPECT_EQ(rig.used_pages(), 0);
}

// Does at random what a controller may do; the same for the same events.
std::shared_ptr<Scripted> random_controller(std::uint64_t seed) {
  auto draw = [seed, count = std::uint64_t{0}](std::uint64_t below) mutable {
    return static_cast<std::int64_t>(mix64(seed, ++count) % below);
  };
  const auto pick = [shared = std::make_shared<decltype(draw)>(draw)](std::uint64_t below) {
    return (*shared)(below);
  };
  constexpr std::int64_t kIntervals[] = {0, 2, 5};
  auto controller = std::make_shared<Scripted>(
      1 + pick(6), Needs{.interval = kIntervals[pick(3)], .probe_interval = kIntervals[pick(3)]});
  const auto act = [pick](const BranchesView& view, std::int32_t, Actions& actions) {
    std::set<std::int32_t> ended;
    for (std::int64_t n = pick(3); n > 0; --n) {
      const auto branch =
          static_cast<std::int32_t>(pick(static_cast<std::uint64_t>(std::max(view.size(), 1))));
      const bool runs =
          branch < view.size() && view[branch].is_running() && !ended.contains(branch);
      const std::int64_t kind = pick(20);
      if (kind < 4 && view.size() < 14) actions.start(1);
      if (!runs) continue;
      const auto& probes = view[branch].probes;
      const bool is_probed = !probes.empty() && probes.back().num_tokens == view[branch].num_tokens;
      if (kind >= 4 && kind < 8 && view.size() < 14) actions.fork(branch);
      if (kind >= 8 && kind < 15 && !is_probed) actions.probe(branch);
      if (kind >= 15 && kind < 19) actions.prune(branch, "by chance"), ended.insert(branch);
      if (kind == 19 && pick(4) == 0) return actions.stop(kNoAnswer, "by chance");
    }
  };
  controller->started = controller->probed = controller->finished = controller->passed = act;
  return controller;
}

RequestSpec random_spec(std::uint64_t seed, EventOrder order) {
  RequestSpec spec =
      controlled(random_controller(seed), 1 + static_cast<std::int64_t>(mix64(seed, 91) % 14),
                 static_cast<std::int64_t>(mix64(seed, 92) % 24), seed, order);
  if (seed % 4 == 1) spec.sampling.eos_token_ids.clear();
  if (seed % 3 == 1)
    spec.policy = std::make_shared<Drafting>(Drafting::Shape::tree, some_tokens(40, seed), seed);
  if (seed % 5 == 2 && seed % 3 != 1) spec.guidance_scale = 1.5f;
  return spec;
}

TEST(BranchControl, RandomControllersDecideAlikeWhateverTheMemory) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rig large;
    const Told wanted = run_controlled(large, random_spec(seed, EventOrder::virtual_time));
    for (const std::int64_t chunk : {1, 5, 64}) {
      Rig small(static_cast<std::int64_t>(24 + mix64(seed, 93) % 20));
      small.engine->chunk_budget().fix(chunk);
      EXPECT_EQ(run_controlled(small, random_spec(seed, EventOrder::virtual_time)), wanted)
          << "seed " << seed << ", chunk " << chunk;
      run_controlled(small, random_spec(seed, EventOrder::arrival));
    }
  }
}

TEST(BranchControl, RandomControllersSideBySide) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Rig rig(static_cast<std::int64_t>(24 + seed));
    Job job(rig.engine);
    for (std::uint64_t i = 0; i < 3; ++i)
      job.add(random_spec(3 * seed + i, EventOrder::virtual_time));
    std::uint64_t step = 0;
    job.advance(Until::done, [&] {
      if (mix64(seed, step++) % 7 == 0) rig.preempt_all();
      rig.check_integrity();
    });
    for (std::uint64_t i = 0; i < 3; ++i) {
      Rig alone;
      EXPECT_EQ(told(job, static_cast<std::int64_t>(i)),
                run_controlled(alone, random_spec(3 * seed + i, EventOrder::virtual_time)))
          << seed;
    }
    EXPECT_EQ(rig.used_pages(), 0);
  }
}

TEST(BranchControl, JobsClosedInTheMiddleLeaveNothing) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rig rig(40);
    {
      Job job(rig.engine);
      job.add(random_spec(seed, EventOrder::arrival));
      for (std::uint64_t step = 0; step < seed % 23 && !job.done(); ++step)
        job.advance(Until::step, no_poll);
    }
    rig.expect_empty();
  }
}

TEST(BranchControl, ASessionLendsItsCache) {
  const RequestSpec plain =
      controlled(named("self_consistency", {{"width", std::int64_t{4}}}), 20, 10, 8);
  Rig rig;
  const Told wanted = run_controlled(rig, plain);
  Session session(rig.engine);
  Session* pointer = &session;
  const Tokens given(plain.tokens.begin(), plain.tokens.begin() + 15);
  feed(*rig.engine, {&pointer, 1}, {given}, FeedWant::last_logits, {}, no_poll);
  RequestSpec spec = plain;
  spec.control->controller = named("self_consistency", {{"width", std::int64_t{4}}});
  spec.session = &session;
  Job job(rig.engine);
  job.add(spec);
  rig.model->num_rows = 0;
  job.advance(Until::done, no_poll);
  EXPECT_EQ(told(job, 0), wanted);
  std::int64_t written = 0;
  for (const Told::Ended& branch : wanted.branches) written += std::ssize(branch.tokens);
  EXPECT_LE(rig.model->num_rows, 5 + written);
}

}  // namespace
}  // namespace foresight::engine_test
