#include "control/conductor.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "core/error.h"
#include "cpp/control/scripted_stage.h"

namespace foresight::testing {
namespace {

// Writes down what it is told, and does what the test says.
class Listener final : public Controller {
 public:
  Needs wanted;
  std::int64_t width = 1;
  std::vector<std::string> heard;
  std::function<void(const BranchesView&, Actions&)> then = [](const auto&, auto&) {};

  Needs needs() const override { return wanted; }
  void on_start(const BranchesView&, Actions& actions) override { actions.start(width); }
  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    hear(concat("probe ", branch, " at ", view[branch].probes.back().num_tokens), view, actions);
  }
  void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    hear(concat("finish ", branch, " at ", view[branch].num_tokens), view, actions);
  }
  void on_interval(const BranchesView& view, Actions& actions) override {
    hear(concat("interval ", view.clock()), view, actions);
  }

 private:
  void hear(std::string what, const BranchesView& view, Actions& actions) {
    heard.push_back(std::move(what));
    then(view, actions);
  }
};

using Heard = std::vector<std::string>;

struct Rig {
  explicit Rig(std::vector<Script> scripts, EventOrder events = EventOrder::virtual_time)
      : stage(std::move(scripts)), order(events) {
    listener->width = std::ssize(stage.scripts);
  }
  // Made at the first use, after the test has said what the listener wants.
  Conductor& conductor() {
    if (!made) made = std::make_unique<Conductor>(listener, stage, order);
    return *made;
  }
  const Heard& run() {
    conductor().run();
    return listener->heard;
  }

  std::shared_ptr<Listener> listener = std::make_shared<Listener>();
  ScriptedStage stage;
  EventOrder order;
  std::unique_ptr<Conductor> made;
};

TEST(ConductorTest, EventsComeByTokensWhateverTheSpeeds) {
  Rig rig({{.length = 100}, {.length = 50}, {.length = 70}});
  rig.stage.first_progress = 0;
  EXPECT_EQ(rig.run(), Heard{});
  rig.stage.progress = {100, 10, 70};  // the first has ended, the second lags behind
  EXPECT_EQ(rig.run(), Heard{});
  rig.stage.progress[1] = 49;
  EXPECT_EQ(rig.run(), Heard{});
  rig.stage.progress[1] = 50;
  EXPECT_EQ(rig.run(), (Heard{"finish 1 at 50", "finish 2 at 70", "finish 0 at 100"}));
  EXPECT_TRUE(rig.conductor().done());
  EXPECT_EQ(rig.conductor().outcome().clock, 100);
}

TEST(ConductorTest, OfOneClockTheFirstBranchComesFirstAndTheIntervalLast) {
  Rig rig({{.length = 60}, {.length = 20}, {.length = 20}});
  rig.listener->wanted = {.interval = 20, .probe_interval = 20};
  EXPECT_EQ(rig.run(), (Heard{"probe 0 at 20", "finish 1 at 20", "finish 2 at 20", "interval 20",
                              "probe 0 at 40", "interval 40", "finish 0 at 60"}));
}

TEST(ConductorTest, AnIntervalWaitsForEveryBranch) {
  Rig rig(std::vector<Script>(2));
  rig.listener->wanted.interval = 10;
  rig.stage.first_progress = 0;
  rig.run();
  rig.stage.progress = {35, 9};
  EXPECT_EQ(rig.run(), Heard{});
  rig.stage.progress[1] = 20;
  EXPECT_EQ(rig.run(), (Heard{"interval 10", "interval 20"}));
  // The view shows tokens at the clock, not those that are there already.
  EXPECT_EQ(rig.conductor().branches()[0].num_tokens, 20);
}

TEST(ConductorTest, AProbeWithoutAnswerHoldsUpTheClock) {
  Rig rig({{.length = 15}, {.length = 30}});
  rig.listener->wanted.probe_interval = 10;
  rig.stage.pending = {0};
  EXPECT_EQ(rig.run(), Heard{});
  rig.stage.pending = {1};
  EXPECT_EQ(rig.run(), (Heard{"probe 0 at 10"}));
  rig.stage.pending = {};
  EXPECT_EQ(rig.run(), (Heard{"probe 0 at 10", "probe 1 at 10", "finish 0 at 15", "probe 1 at 20",
                              "finish 1 at 30"}));
}

TEST(ConductorTest, ReadingsAreKeptAndTheLastOneIsTheAnswer) {
  Rig rig({{.length = 25, .answer = 7, .probes = {{10, 3}, {20, 4}}}});
  rig.listener->wanted.probe_interval = 10;
  std::vector<AnswerId> answers;
  rig.listener->then = [&](const BranchesView& view, Actions&) {
    answers.push_back(view[0].answer);
  };
  rig.run();
  EXPECT_EQ(answers, (std::vector<AnswerId>{3, 4, 7}));
  ASSERT_EQ(rig.conductor().branches()[0].probes.size(), 2u);
  EXPECT_EQ(rig.conductor().outcome().answer, 7);
}

TEST(ConductorTest, PrunedTokensEndAtTheClock) {
  Rig rig({{.length = 10}, {.length = 90}});
  rig.listener->then = [](const BranchesView& view, Actions& actions) {
    if (view[1].is_running()) actions.prune(1, "enough");
  };
  EXPECT_EQ(rig.run(), (Heard{"finish 0 at 10"}));
  EXPECT_EQ(rig.stage.ends, (std::vector<ScriptedStage::End>{{1, BranchStatus::pruned, 10}}));
  EXPECT_EQ(rig.conductor().branches()[1].reason, "enough");
  EXPECT_EQ(rig.conductor().outcome().reason, "");
}

TEST(ConductorTest, AStopEndsAllAndLaterActionsAreVoid) {
  Rig rig({{.length = 10, .answer = 1}, {.length = 20, .answer = 2}});
  rig.listener->then = [](const BranchesView&, Actions& actions) {
    actions.stop(5, "known");
    actions.prune(1, "void");
  };
  rig.run();
  EXPECT_EQ(rig.conductor().outcome().answer, 5);
  EXPECT_EQ(rig.conductor().outcome().reason, "known");
  EXPECT_EQ(rig.stage.ends, (std::vector<ScriptedStage::End>{{1, BranchStatus::stopped, 10}}));
}

TEST(ConductorTest, AStopWithoutAnAnswerLeavesItToTheVote) {
  Rig rig({{.length = 10, .answer = 4}, {.length = 20, .answer = 2}});
  rig.listener->then = [](const BranchesView&, Actions& actions) {
    actions.stop(kNoAnswer, "enough");
  };
  rig.run();
  EXPECT_EQ(rig.conductor().outcome().answer, 4);
}

TEST(ConductorTest, BranchesThatFollowAddUp) {
  Rig rig({{.length = 10}, {.length = 25}});
  rig.listener->width = 1;
  rig.listener->wanted.probe_interval = 10;
  rig.listener->then = [](const BranchesView& view, Actions& actions) {
    if (view.size() < 2) actions.start(1);
  };
  EXPECT_EQ(rig.run(),
            (Heard{"finish 0 at 10", "probe 1 at 10", "probe 1 at 20", "finish 1 at 25"}));
  EXPECT_EQ(rig.conductor().branches()[1].start, 10);
  EXPECT_EQ(rig.conductor().outcome().clock, 35);
}

TEST(ConductorTest, AForkInheritsTokensAndAnswer) {
  Rig rig({{.length = 50, .probes = {{20, 3}}}, {.length = 45}});
  rig.listener->width = 1;
  rig.listener->wanted.probe_interval = 20;
  std::vector<AnswerId> inherited;
  rig.listener->then = [&](const BranchesView& view, Actions& actions) {
    if (view.size() == 1) actions.fork(0);
    if (view.size() == 2 && view.clock() == 40 && inherited.empty())
      inherited.push_back(view[1].answer);
  };
  EXPECT_EQ(rig.run(), (Heard{"probe 0 at 20", "probe 0 at 40", "probe 1 at 40", "finish 1 at 45",
                              "finish 0 at 50"}));
  EXPECT_EQ(rig.stage.forks, (std::vector<std::pair<std::int32_t, std::int64_t>>{{0, 20}}));
  EXPECT_EQ(inherited, (std::vector<AnswerId>{3}));
  EXPECT_EQ(rig.conductor().branches()[1].parent, 0);
  EXPECT_EQ(rig.conductor().branches()[1].inherited, 20);
  EXPECT_EQ(rig.conductor().outcome().clock, 50);
}

TEST(ConductorTest, AProbeThatIsAskedForIsToldAtItsClock) {
  Rig rig({{.length = 10}, {.length = 30, .probes = {{10, 6}}}});
  rig.listener->then = [](const BranchesView& view, Actions& actions) {
    if (view[1].probes.empty()) actions.probe(1);
  };
  EXPECT_EQ(rig.run(), (Heard{"finish 0 at 10", "probe 1 at 10", "finish 1 at 30"}));
}

TEST(ConductorTest, ArrivalDoesNotWaitForTheStarved) {
  Rig rig({{.length = 100, .answer = 1}, {.length = 40, .answer = 2}}, EventOrder::arrival);
  rig.listener->wanted.interval = 30;
  rig.stage.first_progress = 0;
  rig.run();
  rig.stage.progress = {70, 5};
  EXPECT_EQ(rig.run(), Heard{});  // it is slow, but it runs
  rig.stage.starved = {1};
  EXPECT_EQ(rig.run(), (Heard{"interval 30", "interval 60"}));
  EXPECT_EQ(rig.conductor().branches()[1].num_tokens, 5);
  EXPECT_EQ(rig.conductor().num_early_events(), 2);
  rig.stage.starved = {};
  rig.stage.progress = {70, 40};
  EXPECT_EQ(rig.run(), (Heard{"interval 30", "interval 60", "finish 1 at 40"}));
}

TEST(ConductorTest, ArrivalDoesNotWaitForAProbeThatWaitsForMemory) {
  for (const EventOrder order : {EventOrder::arrival, EventOrder::virtual_time}) {
    Rig rig({{.length = 35, .answer = 1}, {.length = 40, .answer = 2}}, order);
    rig.listener->wanted.probe_interval = 10;
    rig.stage.first_progress = 0;
    rig.run();
    rig.stage.progress = {35, 20};
    rig.stage.pending = {1};  // it has come to its probe, and neither goes on
    rig.stage.starved = {1};
    Heard heard = {"probe 0 at 10"};
    if (order == EventOrder::arrival)
      heard = {"probe 0 at 10", "probe 0 at 20", "probe 0 at 30", "finish 0 at 35"};
    EXPECT_EQ(rig.run(), heard);
    rig.stage.progress = {35, 40};
    rig.stage.pending = rig.stage.starved = {};
    const Heard& all = rig.run();
    EXPECT_EQ(all.size(), 8u);  // both are told everything in the end
    EXPECT_EQ(all.back(), "finish 1 at 40");
  }
}

TEST(ConductorTest, TheClockStandsWhileAllAreStarved) {
  Rig rig(std::vector<Script>(2), EventOrder::arrival);
  rig.listener->wanted.interval = 10;
  rig.stage.first_progress = 5;
  rig.stage.starved = {0, 1};
  EXPECT_EQ(rig.run(), Heard{});
}

TEST(ConductorTest, AStarvedBranchThatHasEndedIsNotShownBeyondItsEnd) {
  Rig rig({{.length = 90}, {.length = 20}, {.length = 30}}, EventOrder::arrival);
  rig.listener->wanted.interval = 50;
  rig.stage.first_progress = 0;
  rig.run();
  rig.stage.progress = {60, 0, 0};
  rig.stage.starved = {1, 2};
  EXPECT_EQ(rig.run(), (Heard{"interval 50"}));
  rig.stage.progress = {60, 20, 30};
  rig.stage.starved = {};
  std::vector<std::int64_t> seen;
  rig.listener->then = [&](const BranchesView& view, Actions&) {
    seen.push_back(view[2].num_tokens);
  };
  rig.run();
  EXPECT_EQ(seen, (std::vector<std::int64_t>{30, 30}));
}

TEST(ConductorTest, BadActionsAreRefused) {
  const auto says = [](const std::function<void(Actions&)>& act, const std::string& text) {
    Rig rig({{.length = 10}, {.length = 20}});
    rig.listener->wanted.probe_interval = 5;
    rig.listener->then = [&](const BranchesView&, Actions& actions) { act(actions); };
    try {
      rig.run();
      ADD_FAILURE() << "nothing was thrown, expected: " << text;
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  says([](Actions& a) { a.prune(2, ""); }, "prune(2): there are branches 0 to 1");
  says([](Actions& a) { a.fork(-1); }, "fork(-1): there are branches 0 to 1");
  says([](Actions& a) { a.start(-3); }, "start of -3 branches");
  says([](Actions& a) { a.prune(0, ""), a.probe(0); }, "probe(0): the branch is pruned");
  says([](Actions& a) { a.probe(0); }, "probe(0): the branch was probed at its 5 tokens already");
}

TEST(ConductorTest, NeedsAreHeldToTheirRange) {
  for (const Needs& wanted : {Needs{.interval = -1}, Needs{.probe_interval = -1}}) {
    Rig rig(std::vector<Script>(1));
    rig.listener->wanted = wanted;
    EXPECT_THROW(rig.conductor(), ValueError);
  }
}

TEST(ConductorTest, AControllerThatStartsNothingIsRefused) {
  Rig rig(std::vector<Script>(0));
  EXPECT_THROW(rig.run(), ValueError);
}

TEST(ConductorTest, AllPrunedIsAnEndWithoutAnAnswer) {
  Rig rig({{.length = 20}, {.length = 30}});
  rig.listener->wanted.interval = 10;
  rig.listener->then = [](const BranchesView&, Actions& actions) {
    actions.prune(0, "a");
    actions.prune(1, "b");
  };
  rig.run();
  ASSERT_TRUE(rig.conductor().done());
  EXPECT_EQ(rig.conductor().outcome().answer, kNoAnswer);
  EXPECT_TRUE(rig.conductor().outcome().votes.empty());
}

TEST(ConductorTest, AllPrunedAtTheStartIsAnEndToo) {
  class PrunesAtOnce final : public Controller {
   public:
    void on_start(const BranchesView&, Actions& actions) override {
      actions.start(1);
      actions.prune(0, "not wanted");
    }
  };
  ScriptedStage stage(std::vector<Script>{{.length = 20}});
  Conductor conductor(std::make_shared<PrunesAtOnce>(), stage, EventOrder::virtual_time);
  conductor.run();
  ASSERT_TRUE(conductor.done());
  EXPECT_EQ(conductor.outcome().winner, 0);
}

TEST(ConductorTest, TheWinnerStandsForTheAnswer) {
  const auto branch = [](BranchStatus status, AnswerId answer, std::int64_t tokens) {
    BranchRecord record;
    record.status = status;
    record.answer = answer;
    record.num_tokens = tokens;
    return record;
  };
  const std::vector<BranchRecord> branches = {
      branch(BranchStatus::pruned, 1, 90),           branch(BranchStatus::stopped, 1, 80),
      branch(BranchStatus::finished, 2, 10),         branch(BranchStatus::finished, 1, 20),
      branch(BranchStatus::finished, kNoAnswer, 50), branch(BranchStatus::finished, 1, 30)};
  EXPECT_EQ(Conductor::winner_of(branches, 1), 3);
  EXPECT_EQ(Conductor::winner_of(std::span(branches).first(3), 1), 1);
  EXPECT_EQ(Conductor::winner_of(branches, kNoAnswer), 4);
  EXPECT_EQ(Conductor::winner_of(branches, 9), 4);
  EXPECT_EQ(Conductor::winner_of(std::span(branches).first(2), 9), 0);
  EXPECT_EQ(Conductor::winner_of({}, 9), -1);
}

}  // namespace
}  // namespace foresight::testing
