#include "control/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "control/controllers.h"
#include "core/error.h"

namespace foresight {
namespace {

using I = std::int64_t;

RecordedBranch branch(std::int64_t num_tokens, AnswerId answer, std::vector<AnswerId> probes = {},
                      std::int64_t grid = 10) {
  RecordedBranch made;
  made.num_tokens = num_tokens;
  made.answer = answer;
  for (const AnswerId probe : probes)
    made.probes.push_back({(std::ssize(made.probes) + 1) * grid, probe});
  return made;
}

RecordedQuestion question(std::vector<RecordedBranch> branches, std::int64_t grid = 0) {
  RecordedQuestion made;
  made.label = "file.json, question 3";
  made.probe_grid = grid;
  for (RecordedBranch& recorded : branches) made.add(std::move(recorded));
  return made;
}

std::vector<std::int32_t> order_of(std::int32_t size) {
  std::vector<std::int32_t> order;
  for (std::int32_t i = 0; i < size; ++i) order.push_back(i);
  return order;
}

std::shared_ptr<Controller> self_consistency(I width) {
  return make_controller("self_consistency", {{"width", width}});
}

std::shared_ptr<Controller> probing(I width, I interval) {
  return make_controller("parallel_probe", {{"width", width},
                                            {"interval", interval},
                                            {"stable", I{100}},
                                            {"patience", I{100}},
                                            {"warmup", I{0}}});
}

void expect_error(const std::function<void()>& act, const std::string& text) {
  try {
    act();
    ADD_FAILURE() << "nothing was thrown, expected: " << text;
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(ReplayTest, BranchesComeInTheOrderOfTheDraw) {
  const RecordedQuestion asked = question({branch(30, 1), branch(10, 2), branch(20, 2)});
  const ReplayDraw first = replay(asked, std::vector{1, 0}, self_consistency(2), 0);
  EXPECT_EQ(first.answer, 2);
  EXPECT_EQ(first.sequential_tokens, 30);
  EXPECT_EQ(first.total_tokens, 40);
  const ReplayDraw second = replay(asked, std::vector{0, 2}, self_consistency(2), 0);
  EXPECT_EQ(second.answer, 1);
  EXPECT_EQ(second.total_tokens, 50);
}

TEST(ReplayTest, AProbingControllerIsChargedByRounds) {
  // 3 probes but 25 tokens: charged 30, heard of at 40. 1 probe but 34 tokens: charged 34, heard of
  // at 20.
  const RecordedQuestion asked = question({branch(25, 1, {1, 1, 1}), branch(34, 2, {2})}, 10);
  const ReplayDraw draw = replay(asked, order_of(2), probing(2, 10), 0);
  EXPECT_EQ(draw.sequential_tokens, 34);
  EXPECT_EQ(draw.total_tokens, 64);
  EXPECT_EQ(draw.probes, 4);
  const ReplayDraw costly = replay(asked, order_of(2), probing(2, 10), 7);
  EXPECT_EQ(costly.sequential_tokens, 30 + 3 * 7);
  EXPECT_EQ(costly.total_tokens, 64 + 4 * 7);
  // Every second round: one probe is read of the first branch.
  const ReplayDraw sparse = replay(asked, order_of(2), probing(2, 20), 0);
  EXPECT_EQ(sparse.probes, 1);
  EXPECT_EQ(sparse.total_tokens, 25 + 34);
  // Nobody probes: tokens as they are.
  EXPECT_EQ(replay(asked, order_of(2), self_consistency(2), 9).total_tokens, 59);
}

TEST(ReplayTest, WhatTheRecordLacksIsNamed) {
  RecordedBranch cut = branch(15, kNoAnswer, {1});
  cut.is_finished = false;
  const RecordedQuestion asked = question({branch(30, 1, {1, 1}), cut});
  const std::vector<std::int32_t> swapped = {1, 0};
  const auto run = [&](std::shared_ptr<Controller> controller) {
    replay(asked, swapped, std::move(controller), 0);
  };
  expect_error([&] { run(self_consistency(3)); },
               "file.json, question 3: the controller starts more branches than the 2");
  expect_error([&] { run(self_consistency(2)); },
               "file.json, question 3, branch 1: the controller needs more than the 15 tokens");
  expect_error([&] { run(probing(2, 5)); },
               "file.json, question 3, branch 1: no probe is recorded at 5 tokens");
  expect_error(
      [&] {
        run(make_controller("deep_conf", {{"width", I{1}},
                                          {"warmup", I{1}},
                                          {"keep", 0.5},
                                          {"group", I{8}},
                                          {"consensus", 0.5}}));
      },
      "the controller needs more than");
  expect_error(
      [&] {
        const auto inner = self_consistency(1);
        replay(asked, order_of(1),
               make_controller("memory_prune", {{"kv_cache_bytes", I{8}}}, inner), 0);
      },
      "branch 0: no cache bytes are recorded");
  expect_error([&] { replay(asked, std::vector{0, 0}, self_consistency(2), 0); }, "twice");
  expect_error([&] { replay(asked, std::vector{0, 2}, self_consistency(2), 0); }, "there are 2");
  expect_error([&] { question({branch(-1, 0)}); }, "branch 0: -1 tokens");
  expect_error(
      [&] {
        const std::vector<std::vector<std::int32_t>> orders = {order_of(1)};
        const std::vector<std::shared_ptr<Controller>> controllers = {self_consistency(1)};
        replay_draws(asked, orders, controllers, -1, 1);
      },
      "probe cost -1");
}

TEST(ReplayTest, AConfidenceHoldsUntilTheNext) {
  class Listens final : public Controller {
   public:
    std::vector<double> heard;
    Needs needs() const override {
      return {.interval = 10, .confidence = true, .confidence_group = 20};
    }
    void on_start(const BranchesView&, Actions& actions) override { actions.start(1); }
    void on_finish(const BranchesView& view, std::int32_t, Actions&) override {
      heard.push_back(view[0].confidence);
    }
    void on_interval(const BranchesView& view, Actions&) override {
      heard.push_back(view[0].confidence);
    }
  };
  RecordedBranch told = branch(55, 1);
  told.confidences = {{20, 4.0}, {33, 3.0}, {40, 2.0}};
  RecordedQuestion asked = question({told});
  const auto heard = [&] {
    const auto listens = std::make_shared<Listens>();
    replay(asked, order_of(1), listens, 0);
    return listens->heard;
  };
  const std::vector<double> values = heard();
  ASSERT_EQ(values.size(), 6u);
  EXPECT_TRUE(std::isnan(values[0]));  // no group is full
  EXPECT_EQ(std::vector(values.begin() + 1, values.end()),
            (std::vector<double>{4.0, 4.0, 2.0, 2.0, 2.0}));
  asked.confidence_group = 20;
  EXPECT_EQ(heard().size(), 6u);
  asked.confidence_group = 16;
  expect_error([&] { heard(); }, "confidences are recorded of groups of 16 tokens, and the");
}

TEST(ReplayTest, ForksAreNotRecorded) {
  class Forks final : public Controller {
   public:
    Needs needs() const override { return {.interval = 4}; }
    void on_start(const BranchesView&, Actions& actions) override { actions.start(1); }
    void on_interval(const BranchesView&, Actions& actions) override { actions.fork(0); }
  };
  const RecordedQuestion asked = question({branch(30, 1)});
  expect_error([&] { replay(asked, order_of(1), std::make_shared<Forks>(), 0); },
               "branch 0: the controller forks it after 4 tokens");
}

TEST(ReplayTest, TheFullVoteIsThatOfAllEnds) {
  RecordedBranch cut = branch(15, 1);
  cut.is_finished = false;
  const RecordedQuestion asked =
      question({branch(9, 1), branch(8, 2), branch(7, 2), branch(6, kNoAnswer), cut});
  EXPECT_EQ(full_vote(asked, order_of(2)), std::optional<AnswerId>(1));
  EXPECT_EQ(full_vote(asked, order_of(4)), std::optional<AnswerId>(2));
  EXPECT_EQ(full_vote(asked, std::vector{3}), std::optional<AnswerId>(kNoAnswer));
  EXPECT_EQ(full_vote(asked, order_of(5)), std::nullopt);
}

TEST(ReplayTest, ThreadsChangeNothing) {
  std::mt19937 random(5);
  std::vector<RecordedBranch> branches;
  for (int i = 0; i < 20; ++i) {
    branches.push_back(
        branch(1 + static_cast<I>(random() % 90), static_cast<AnswerId>(random() % 4)));
  }
  const RecordedQuestion asked = question(std::move(branches));
  std::vector<std::vector<std::int32_t>> orders(50, order_of(20));
  for (auto& order : orders) std::shuffle(order.begin(), order.end(), random);
  const auto run = [&](int threads) {
    std::vector<std::shared_ptr<Controller>> controllers;
    for (std::size_t i = 0; i < orders.size(); ++i)
      controllers.push_back(make_controller("lossless_lead", {{"width", I{12}}}));
    return replay_draws(asked, orders, controllers, 0, threads);
  };
  const auto one = run(1);
  const auto three = run(3);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].answer, three[i].answer);
    EXPECT_EQ(one[i].total_tokens, three[i].total_tokens);
  }
}

// Branches whose every number is a hash, known at once or little by little, as live ones are; it
// notes what a recorder would write.
class HashedStage final : public Stage {
 public:
  HashedStage(std::uint32_t seed, bool is_instant) : seed_(seed), is_instant_(is_instant) {}

  // Some branches come further, and some probes are answered.
  void step(std::mt19937& random) {
    for (std::int64_t& tokens : progress_) tokens += static_cast<I>(random() % 40);
    answers_now_ = random() % 3 != 0;
  }
  RecordedBranch record_of(std::int32_t i, const BranchRecord& seen) const {
    RecordedBranch record;
    record.probes = seen.probes;
    record.num_tokens = seen.num_tokens;
    record.is_finished = seen.is_finished();
    record.answer = seen.answer;
    for (const auto& [key, value] : told_) {
      if (key.first == i) record.confidences.push_back({key.second, value});
    }
    return record;
  }

  void start() override { progress_.push_back(0); }
  void fork(std::int32_t, std::int64_t) override { throw std::logic_error("no forks here"); }
  void end(std::int32_t, BranchStatus, std::int64_t) override {}
  std::int64_t num_tokens(std::int32_t branch) override {
    return is_instant_ ? length(branch)
                       : std::min(length(branch), progress_[static_cast<std::size_t>(branch)]);
  }
  std::optional<Ending> ending(std::int32_t branch) override {
    if (num_tokens(branch) < length(branch)) return std::nullopt;
    return Ending{length(branch), length(branch), answer(branch, -1)};
  }
  std::optional<AnswerId> probe(std::int32_t branch, std::int64_t num_tokens) override {
    if (!is_instant_ && !answers_now_) return std::nullopt;
    return answer(branch, num_tokens);
  }
  double confidence(std::int32_t branch, std::int64_t num_tokens) override {
    const double value = hash(branch, num_tokens, 3) % 1000 / 100.0;
    told_[{branch, num_tokens}] = value;
    return value;
  }
  std::int64_t cache_bytes(std::int32_t, std::int64_t num_tokens) override { return num_tokens; }
  bool is_starved(std::int32_t) override { return false; }

 private:
  std::uint32_t hash(std::int64_t a, std::int64_t b, std::uint32_t c) const {
    std::seed_seq seeds{seed_, static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b), c};
    std::uint32_t value = 0;
    seeds.generate(&value, &value + 1);
    return value;
  }
  std::int64_t length(std::int32_t branch) const { return 5 + hash(branch, 0, 1) % 300; }
  AnswerId answer(std::int32_t branch, std::int64_t num_tokens) const {
    return static_cast<AnswerId>(hash(branch, num_tokens, 2) % 4) - 1;
  }

  std::uint32_t seed_;
  bool is_instant_;
  bool answers_now_ = false;
  std::vector<std::int64_t> progress_;
  std::map<std::pair<std::int32_t, std::int64_t>, double> told_;
};

// Stops at the first probe that agrees with another branch's, in the middle of a round.
class FirstAgreement final : public Controller {
 public:
  Needs needs() const override { return {.probe_interval = 12}; }
  void on_start(const BranchesView&, Actions& actions) override { actions.start(9); }
  void on_probe(const BranchesView& view, std::int32_t, Actions& actions) override {
    const std::vector<Vote> votes = view.current_votes();
    if (!votes.empty() && votes[0].weight >= 2.0) actions.stop(votes[0].answer, "two agree");
  }
};

struct Named {
  std::string name;
  std::function<std::shared_ptr<Controller>(std::mt19937&)> make;
};

std::vector<Named> all_controllers() {
  const auto share = [](std::mt19937& r) { return 0.5 + static_cast<double>(r() % 45) / 100.0; };
  const auto count = [](std::mt19937& r, I most) { return 1 + static_cast<I>(r() % most); };
  return {
      {"first_agreement", [](auto&) { return std::make_shared<FirstAgreement>(); }},
      {"self_consistency",
       [=](auto&) {
         return make_controller("self_consistency", {{"width", I{9}}});
       }},
      {"lossless_lead",
       [=](auto&) {
         return make_controller("lossless_lead", {{"width", I{9}}});
       }},
      {"shortest_first",
       [=](auto& r) {
         return make_controller("shortest_first", {{"width", I{9}}, {"count", count(r, 9)}});
       }},
      {"beta_stop",
       [=](auto& r) {
         return make_controller(
             "beta_stop",
             {{"width", I{9}}, {"confidence", share(r)}, {"min_finished", count(r, 5)}});
       }},
      {"waves",
       [=](auto& r) {
         return make_controller("waves", {{"sizes", std::vector<I>{count(r, 5), 3, count(r, 5)}},
                                          {"fraction", share(r)},
                                          {"confidence", share(r)}});
       }},
      {"adaptive_consistency",
       [=](auto& r) {
         return make_controller("adaptive_consistency",
                                {{"width", I{9}}, {"confidence", share(r)}});
       }},
      {"early_stopping_consistency",
       [=](auto& r) {
         return make_controller("early_stopping_consistency",
                                {{"width", I{9}}, {"window", count(r, 4)}});
       }},
      {"parallel_probe",
       [=](auto& r) {
         return make_controller("parallel_probe", {{"width", I{9}},
                                                   {"interval", 7 + count(r, 20)},
                                                   {"stable", 2 + count(r, 4)},
                                                   {"patience", count(r, 4)},
                                                   {"warmup", count(r, 3)}});
       }},
      {"deep_conf",
       [=](auto& r) {
         return make_controller("deep_conf", {{"width", I{9}},
                                              {"warmup", count(r, 9)},
                                              {"keep", share(r)},
                                              {"group", I{8}},
                                              {"consensus", share(r)}});
       }},
      {"memory_prune",
       [=](auto& r) {
         return make_controller("memory_prune", {{"kv_cache_bytes", 40 * count(r, 40)}},
                                make_controller("parallel_probe", {{"width", I{9}},
                                                                   {"interval", 7 + count(r, 20)},
                                                                   {"stable", I{6}},
                                                                   {"patience", I{3}},
                                                                   {"warmup", I{1}}}));
       }},
  };
}

// Live branches come at any speed, and probes are answered at any time: the decisions are those of
// a run in which all is known at once, and those of the replay of its record.
TEST(ReplayTest, LiveAndRecordedDecideAlike) {
  for (const Named& named : all_controllers()) {
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
      SCOPED_TRACE(concat(named.name, " seed ", seed));
      const auto made = [&] {
        std::mt19937 random(seed);
        return named.make(random);
      };
      HashedStage live_stage(seed, false);
      Conductor live(made(), live_stage, EventOrder::virtual_time);
      std::mt19937 random(seed + 1000);
      for (int i = 0; i < 100'000 && !live.done(); ++i) {
        live.run();
        live_stage.step(random);
      }
      ASSERT_TRUE(live.done());
      HashedStage instant_stage(seed, true);
      Conductor instant(made(), instant_stage, EventOrder::virtual_time);
      instant.run();
      ASSERT_TRUE(instant.done());
      EXPECT_EQ(live.outcome().answer, instant.outcome().answer);
      EXPECT_EQ(live.outcome().winner, instant.outcome().winner);
      EXPECT_EQ(live.outcome().clock, instant.outcome().clock);
      EXPECT_EQ(live.outcome().reason, instant.outcome().reason);
      ASSERT_EQ(live.branches().size(), instant.branches().size());
      RecordedQuestion recorded;
      ReplayDraw charged;
      for (std::size_t i = 0; i < live.branches().size(); ++i) {
        const BranchRecord& a = live.branches()[i];
        const BranchRecord& b = instant.branches()[i];
        EXPECT_EQ(a.status, b.status);
        EXPECT_EQ(a.num_tokens, b.num_tokens);
        EXPECT_EQ(a.start, b.start);
        EXPECT_EQ(a.answer, b.answer);
        EXPECT_EQ(a.reason, b.reason);
        EXPECT_EQ(a.probes.size(), b.probes.size());
        charged.total_tokens += a.num_tokens;
        charged.probes += std::ssize(a.probes);
        recorded.add(live_stage.record_of(static_cast<std::int32_t>(i), a));
      }
      if (named.name == "memory_prune") continue;  // records hold no cache bytes
      const ReplayDraw again = replay(
          recorded, order_of(static_cast<std::int32_t>(recorded.branches.size())), made(), 0);
      EXPECT_EQ(again.answer, live.outcome().answer);
      EXPECT_EQ(again.sequential_tokens, live.outcome().clock);
      EXPECT_EQ(again.total_tokens, charged.total_tokens);
      EXPECT_EQ(again.probes, charged.probes);
    }
  }
}

}  // namespace
}  // namespace foresight
