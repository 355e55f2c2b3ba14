// Each controller on cases small enough to be followed by hand.
#include "control/controllers.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "cpp/control/scripted_stage.h"

namespace foresight::testing {
namespace {

using enum BranchStatus;
using Statuses = std::vector<BranchStatus>;
using I = std::int64_t;

std::vector<Script> endings(std::initializer_list<std::pair<std::int64_t, AnswerId>> list) {
  std::vector<Script> scripts;
  for (const auto& [length, answer] : list) scripts.push_back({.length = length, .answer = answer});
  return scripts;
}

TEST(ControllersTest, UnknownNamesAndOptionsAreNamed) {
  const auto says = [](const std::string& name, const Options& options, const std::string& text,
                       std::shared_ptr<Controller> inner = nullptr) {
    try {
      make_controller(name, options, std::move(inner));
      ADD_FAILURE() << "nothing was thrown, expected: " << text;
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  says("majority", {}, "controller 'majority' is not known; known are adaptive_consistency, ");
  says("lossless_lead", {{"depth", I{3}}}, "controller 'lossless_lead' has no option 'depth'");
  says("lossless_lead", {}, "option 'width' is missing");
  says("lossless_lead", {{"width", I{0}}}, "option 'width' is 0, expected at least 1");
  says("beta_stop", {{"width", I{4}}, {"confidence", 1.0}, {"min_finished", I{1}}},
       "option 'confidence' is 1, expected above 0 and below 1");
  says("shortest_first", {{"width", I{4}}, {"count", I{5}}}, "'count' is 5, more than the width 4");
  says("waves", {{"sizes", std::vector<I>{}}, {"fraction", 1.0}, {"confidence", 0.9}}, "empty");
  says("waves", {{"sizes", std::vector<I>{4, 0}}, {"fraction", 1.0}, {"confidence", 0.9}},
       "holds 0");
  says("memory_prune", {{"kv_cache_bytes", I{9}}}, "needs an inner controller");
  says("self_consistency", {{"width", I{4}}}, "takes no inner controller",
       make_controller("self_consistency", {{"width", I{4}}}));
  EXPECT_EQ(controller_names().size(), 12u);
}

TEST(ControllersTest, SelfConsistencyWaitsForAll) {
  const Played played = play(make_controller("self_consistency", {{"width", I{4}}}),
                             endings({{40, 1}, {10, 2}, {30, 2}, {20, 1}}));
  EXPECT_EQ(played.outcome.answer, 1);  // a tie: the first in the order of branches
  EXPECT_EQ(played.outcome.clock, 40);
  EXPECT_EQ(played.statuses(), (Statuses{finished, finished, finished, finished}));
}

TEST(ControllersTest, LosslessLeadStopsWhenNoVoteCanChangeIt) {
  // After 10, 20, 30: 3 to 0 with 2 running; not before, 2 to 0 with 3 running.
  const Played played = play(make_controller("lossless_lead", {{"width", I{5}}}),
                             endings({{30, 1}, {90, 2}, {10, 1}, {20, 1}, {80, 2}}));
  EXPECT_EQ(played.outcome.answer, 1);
  EXPECT_EQ(played.outcome.clock, 30);
  EXPECT_EQ(played.statuses(), (Statuses{finished, stopped, finished, finished, stopped}));
  // A lead that equals those that run is not enough: a tie could go to the other answer.
  EXPECT_EQ(play(make_controller("lossless_lead", {{"width", I{4}}}),
                 endings({{90, 2}, {80, 2}, {10, 1}, {20, 1}}))
                .outcome.answer,
            2);
}

TEST(ControllersTest, ShortestFirstGivesATieToTheShortest) {
  const Options options = {{"width", I{4}}, {"count", I{2}}};
  const Played played = play(make_controller("shortest_first", options),
                             endings({{30, 1}, {10, 2}, {20, 3}, {40, 1}}));
  EXPECT_EQ(played.outcome.answer, 2);
  EXPECT_EQ(played.outcome.clock, 20);
  EXPECT_EQ(played.statuses(), (Statuses{stopped, finished, finished, stopped}));
  // In the order of branches 3 would come first.
  EXPECT_EQ(play(make_controller("shortest_first", options),
                 endings({{20, 3}, {10, 2}, {50, 1}, {60, 1}}))
                .outcome.answer,
            2);
}

TEST(ControllersTest, BetaStopTestsTheFinished) {
  // 4 to 0 is sure to 0.969, 3 to 0 to 0.9375.
  const auto script = endings({{10, 1}, {20, 1}, {30, 1}, {40, 1}, {50, 1}});
  const auto clock = [&](double confidence, I min_finished) {
    const Options options = {
        {"width", I{5}}, {"confidence", confidence}, {"min_finished", min_finished}};
    return play(make_controller("beta_stop", options), script).outcome.clock;
  };
  EXPECT_EQ(clock(0.93, 1), 30);
  EXPECT_EQ(clock(0.95, 1), 40);
  EXPECT_EQ(clock(0.93, 5), 50);
  EXPECT_EQ(clock(0.99, 1), 50);
}

TEST(ControllersTest, WavesPruneStragglersThenTest) {
  const Options options = {{"sizes", std::vector<I>{4, 2}}, {"fraction", 0.5}, {"confidence", 0.8}};
  // 2 of 4 have finished at 20: 1 to 1 is not sure; the second wave begins there and needs 1.
  const Played split = play(make_controller("waves", options),
                            endings({{10, 1}, {20, 2}, {90, 3}, {95, 3}, {15, 2}, {40, 1}}));
  EXPECT_EQ(split.statuses(), (Statuses{finished, finished, pruned, pruned, finished, pruned}));
  EXPECT_EQ(split.branches[2].num_tokens, 20);
  EXPECT_EQ(split.branches[4].start, 20);
  EXPECT_EQ(split.outcome.clock, 35);
  EXPECT_EQ(split.outcome.answer, 2);
  // 2 to 0 is sure to 0.875.
  const Played sure = play(make_controller("waves", options),
                           endings({{10, 1}, {20, 1}, {90, 3}, {95, 3}, {15, 2}, {40, 1}}));
  EXPECT_EQ(sure.branches.size(), 4u);
  EXPECT_EQ(sure.outcome.clock, 20);
}

TEST(ControllersTest, AdaptiveConsistencyGoesOneByOne) {
  const Options options = {{"width", I{4}}, {"confidence", 0.85}};
  const Played sure = play(make_controller("adaptive_consistency", options),
                           endings({{10, 1}, {20, 1}, {30, 2}, {40, 2}}));
  EXPECT_EQ(sure.branches.size(), 2u);
  EXPECT_EQ(sure.outcome.clock, 30);
  const Played unsure = play(make_controller("adaptive_consistency", options),
                             endings({{10, 1}, {20, 2}, {30, 2}, {40, kNoAnswer}}));
  EXPECT_EQ(unsure.branches.size(), 4u);
  EXPECT_EQ(unsure.outcome.clock, 100);
  EXPECT_EQ(unsure.outcome.answer, 2);
}

TEST(ControllersTest, EarlyStoppingConsistencyStopsAtAUnanimousWindow) {
  const Options options = {{"width", I{5}}, {"window", I{2}}};
  const Played agreed = play(make_controller("early_stopping_consistency", options),
                             endings({{10, 1}, {20, 2}, {40, 3}, {30, 3}, {50, 1}}));
  EXPECT_EQ(agreed.branches.size(), 4u);
  EXPECT_EQ(agreed.outcome.clock, 20 + 40);
  EXPECT_EQ(agreed.outcome.answer, 3);
  // A missing answer agrees with nothing; the last window is what is left of the width.
  const Played split = play(make_controller("early_stopping_consistency", options),
                            endings({{10, kNoAnswer}, {20, kNoAnswer}, {40, 3}, {30, 2}, {50, 2}}));
  EXPECT_EQ(split.branches.size(), 5u);
  EXPECT_EQ(split.outcome.clock, 20 + 40 + 50);
  EXPECT_EQ(split.outcome.answer, 2);
}

TEST(ControllersTest, ParallelProbeStopsAtAStableMajority) {
  const Options options = {
      {"width", I{3}}, {"interval", I{10}}, {"stable", I{2}}, {"patience", I{9}}, {"warmup", I{9}}};
  const std::map<I, AnswerId> ones = {{10, 2}, {20, 1}, {30, 1}, {40, 1}};
  const Played played = play(make_controller("parallel_probe", options),
                             {{.probes = ones}, {.probes = ones}, {.length = 25, .answer = 3}});
  EXPECT_EQ(played.outcome.answer, 1);
  EXPECT_EQ(played.outcome.clock, 40);
}

TEST(ControllersTest, ParallelProbePrunesTheOutvotedThatRun) {
  const Options options = {{"width", I{4}},
                           {"interval", I{10}},
                           {"stable", I{50}},
                           {"patience", I{2}},
                           {"warmup", I{0}}};
  std::map<I, AnswerId> ones, twos;
  for (I at = 10; at < 100; at += 10) ones[at] = 1, twos[at] = 2;
  const Played played = play(make_controller("parallel_probe", options),
                             {{.length = 95, .answer = 1, .probes = ones},
                              {.length = 95, .answer = 1, .probes = ones},
                              {.length = 95, .answer = 2, .probes = twos},
                              {.length = 5, .answer = 2}});  // finished before anyone disagrees
  EXPECT_EQ(played.statuses(), (Statuses{finished, finished, pruned, finished}));
  EXPECT_EQ(played.branches[2].num_tokens, 30);  // disagrees in the readings 2 and 3
  EXPECT_EQ(played.outcome.votes.size(), 2u);
  EXPECT_EQ(played.outcome.votes[1].weight, 1.0);  // of the one that finished
}

TEST(ControllersTest, ParallelProbeCountsDisagreementAfterTheWarmUp) {
  for (const I warmup : {1, 3}) {
    const Options options = {{"width", I{3}},
                             {"interval", I{10}},
                             {"stable", I{50}},
                             {"patience", I{2}},
                             {"warmup", warmup}};
    std::map<I, AnswerId> ones, twos;
    for (I at = 10; at < 100; at += 10) ones[at] = 1, twos[at] = 2;
    const Played played = play(make_controller("parallel_probe", options),
                               {{.length = 95, .answer = 1, .probes = ones},
                                {.length = 95, .answer = 1, .probes = ones},
                                {.length = 95, .answer = 2, .probes = twos}});
    // Counted from the reading number warmup + 2 on.
    EXPECT_EQ(played.branches[2].num_tokens, 10 * (warmup + 3));
  }
}

std::vector<Script> with_confidences(std::vector<Script> scripts,
                                     const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) scripts[i].confidence = values[i];
  return scripts;
}

TEST(ControllersTest, DeepConfPrunesBelowTheBarOfTheWarmUp) {
  const Options options = {
      {"width", I{5}}, {"warmup", I{2}}, {"keep", 0.5}, {"group", I{8}}, {"consensus", 1.0}};
  // The bar is 3, half way between 2 and 4.
  const Played played =
      play(make_controller("deep_conf", options),
           with_confidences(endings({{10, 1}, {20, 2}, {90, 1}, {90, 2}, {70, 1}}),
                            {2, 4, 2.9, 3.1, 5}));
  EXPECT_EQ(played.statuses(), (Statuses{finished, finished, pruned, finished, finished}));
  EXPECT_EQ(played.branches[2].num_tokens, 32 - 20);
  EXPECT_EQ(played.branches[3].start, 20);
  EXPECT_EQ(played.outcome.answer, 2);  // 4 + 3.1 against 2 + 5
}

TEST(ControllersTest, DeepConfKeepsWhatReachesTheBar) {
  Options options = {
      {"width", I{4}}, {"warmup", I{2}}, {"keep", 1.0}, {"group", I{16}}, {"consensus", 1.0}};
  const auto script =
      with_confidences(endings({{10, 1}, {20, 2}, {90, 1}, {90, 2}}), {2, 4, 2, 1.9});
  EXPECT_EQ(play(make_controller("deep_conf", options), script).statuses(),
            (Statuses{finished, finished, finished, pruned}));
  options["warmup"] = I{4};
  options["keep"] = 0.5;  // the bar is 2, between two that have it
  const Played offline = play(make_controller("deep_conf", options), script);
  ASSERT_EQ(offline.outcome.votes.size(), 2u);
  EXPECT_EQ(offline.outcome.votes[0].weight + offline.outcome.votes[1].weight, 2 + 4 + 2);
}

TEST(ControllersTest, DeepConfStopsByConsensus) {
  Options options = {
      {"width", I{4}}, {"warmup", I{2}}, {"keep", 0.5}, {"group", I{16}}, {"consensus", 0.8}};
  const auto script = with_confidences(endings({{10, 1}, {20, 2}, {90, 1}, {99, 1}}), {6, 2, 9, 9});
  // 15 of 17 when the third has finished.
  EXPECT_EQ(play(make_controller("deep_conf", options), script).outcome.clock, 20 + 90);
  options["consensus"] = 0.7;  // 6 of 8: the warm-up is enough
  EXPECT_EQ(play(make_controller("deep_conf", options), script).branches.size(), 2u);
}

TEST(ControllersTest, DeepConfOfflineKeepsTheMostConfident) {
  const Options options = {
      {"width", I{4}}, {"warmup", I{4}}, {"keep", 0.5}, {"group", I{16}}, {"consensus", 0.1}};
  const Played played =
      play(make_controller("deep_conf", options),
           with_confidences(endings({{10, 1}, {20, 2}, {30, 1}, {40, 1}}), {1, 9, 8, 2}));
  EXPECT_EQ(played.outcome.clock, 40);
  EXPECT_EQ(played.outcome.answer, 2);
  ASSERT_EQ(played.outcome.votes.size(), 2u);
  EXPECT_EQ(played.outcome.votes[1].weight, 8.0);
}

TEST(ControllersTest, MemoryPruneDropsTheLeastPromising) {
  const auto controller = [](I bytes) {
    return make_controller("memory_prune", {{"kv_cache_bytes", bytes}},
                           make_controller("self_consistency", {{"width", I{4}}}));
  };
  const auto script =
      with_confidences(endings({{10, 1}, {200, 1}, {300, 2}, {400, 1}}), {1, 3, 1, 2});
  // At 32 tokens three run and hold 96: no answer is known of them, so confidence decides.
  const Played played = play(controller(64), script);
  EXPECT_EQ(played.branches[2].num_tokens, 32);
  EXPECT_EQ(played.branches[3].num_tokens, 64);
  EXPECT_EQ(played.statuses(), (Statuses{finished, finished, pruned, pruned}));
  EXPECT_EQ(play(controller(1'000'000), script).outcome.clock, 400);
  // The last one stays, whatever it holds.
  EXPECT_EQ(play(controller(1), script).statuses(), (Statuses{finished, pruned, pruned, finished}));
}

TEST(ControllersTest, MemoryPruneCountsVotesFirst) {
  const Options inner = {{"width", I{3}},
                         {"interval", I{32}},
                         {"stable", I{99}},
                         {"patience", I{99}},
                         {"warmup", I{0}}};
  std::vector<Script> script(3, {.length = 200, .answer = 1, .probes = {{32, 1}, {64, 1}}});
  script[2].probes = {{32, 2}, {64, 2}};
  // At 64 they hold 192: first the one that stands alone goes, then the less confident.
  const Played played = play(make_controller("memory_prune", {{"kv_cache_bytes", I{100}}},
                                             make_controller("parallel_probe", inner)),
                             with_confidences(script, {1, 2, 9}));
  EXPECT_EQ(played.statuses(), (Statuses{pruned, finished, pruned}));
  EXPECT_EQ(played.branches[0].num_tokens, 64);
  EXPECT_EQ(played.branches[2].num_tokens, 64);
}

// Starts two branches, a third at the first interval, and prunes the first at the second.
class Staggered final : public Controller {
 public:
  std::vector<I> intervals;

  Needs needs() const override { return {.interval = 48}; }
  void on_start(const BranchesView&, Actions& actions) override { actions.start(2); }
  void on_interval(const BranchesView& view, Actions& actions) override {
    intervals.push_back(view.clock());
    if (intervals.size() == 1) actions.start(1);
    if (intervals.size() == 2) actions.prune(0, "its own");
  }
};

TEST(ControllersTest, MemoryPruneKeepsItsInnerControllersRounds) {
  const auto inner = std::make_shared<Staggered>();
  const std::shared_ptr<Controller> controller =
      make_controller("memory_prune", {{"kv_cache_bytes", I{130}}}, inner);
  EXPECT_EQ(controller->needs().interval, 24);
  // At 96 the inner one prunes branch 0; 1 and 2 then hold 96 + 48, and the longer one goes.
  std::vector<Script> script(3, {.length = 150, .answer = 1});
  script[0].bytes_per_token = 0;
  const Played played = play(controller, script);
  EXPECT_EQ(inner->intervals, (std::vector<I>{48, 96, 144, 192}));
  EXPECT_EQ(played.statuses(), (Statuses{pruned, pruned, finished}));
  EXPECT_EQ(played.branches[1].num_tokens, 96);
  EXPECT_EQ(played.branches[0].reason, "its own");
}

TEST(ControllersTest, AWaveWhoseBranchesWerePrunedIsOver) {
  const Options inner = {{"sizes", std::vector<I>{4, 2}}, {"fraction", 1.0}, {"confidence", 0.99}};
  const Played played = play(
      make_controller("memory_prune", {{"kv_cache_bytes", I{64}}}, make_controller("waves", inner)),
      endings({{40, 1}, {40, 1}, {40, 1}, {40, 1}, {20, 1}, {30, 1}}));
  // At 32 the first wave holds 128; the two that are left finish, and the second wave begins.
  EXPECT_EQ(played.statuses(), (Statuses{pruned, pruned, finished, finished, finished, finished}));
  EXPECT_EQ(played.outcome.clock, 70);
}

}  // namespace
}  // namespace foresight::testing
