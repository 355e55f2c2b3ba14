#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "control/controllers.h"
#include "control/replay.h"

namespace foresight {
namespace {

// One branch, probed every 100 tokens; a '-' is a probe without an answer.
RecordedQuestion probed(const std::string& answers, const std::vector<double>& confidences = {}) {
  RecordedQuestion question;
  question.label = "one";
  RecordedBranch branch;
  std::int64_t at = 0;
  for (const char answer : answers) {
    const AnswerId id = answer == '-' ? kNoAnswer : question.answers.id_of(std::string(1, answer));
    branch.probes.push_back({at += 100, id});
  }
  at = 0;
  for (const double value : confidences) branch.confidences.push_back({at += 100, value});
  branch.num_tokens = 100 * static_cast<std::int64_t>(answers.size()) + 50;
  branch.answer = question.answers.id_of("end");
  question.branches.push_back(branch);
  return question;
}

Options options() {
  return {{"signal", std::string("stability")},
          {"interval", std::int64_t{100}},
          {"window", std::int64_t{4}},
          {"group", std::int64_t{50}},
          {"smoothing", 1.0},
          {"warmup", std::int64_t{0}},
          {"upper", 1.0},
          {"gives_up", false},
          {"base", -1.0},
          {"slope", 0.0},
          {"shift", 0.5},
          {"budget", std::int64_t{1000}}};
}

ReplayDraw replay_one(const RecordedQuestion& question, const Options& chosen) {
  const std::vector<std::int32_t> order = {0};
  return replay(question, order, make_controller("threshold_stop", chosen), 0);
}

std::string text(const RecordedQuestion& question, const ReplayDraw& draw) {
  return draw.answer == kNoAnswer ? "none" : question.answers.text(draw.answer);
}

TEST(ThresholdStop, StopsWhenAWindowAgrees) {
  const RecordedQuestion question = probed("aabbabbbbbb");
  const ReplayDraw draw = replay_one(question, options());
  EXPECT_EQ(draw.sequential_tokens, 900);  // probes 6 to 9
  EXPECT_EQ(text(question, draw), "b");
  EXPECT_EQ(draw.probes, 9);
}

TEST(ThresholdStop, RunsToTheEndOtherwise) {
  const RecordedQuestion question = probed("abababab");
  const ReplayDraw draw = replay_one(question, options());
  EXPECT_EQ(draw.sequential_tokens, 850);
  EXPECT_EQ(text(question, draw), "end");
}

TEST(ThresholdStop, WarmupHoldsItBack) {
  Options chosen = options();
  chosen["warmup"] = std::int64_t{700};
  EXPECT_EQ(replay_one(probed("aaaaaaaaa"), chosen).sequential_tokens, 700);
}

TEST(ThresholdStop, AProbeWithoutAnAnswerIsNoAgreement) {
  EXPECT_EQ(replay_one(probed("--------"), options()).sequential_tokens, 850);
}

TEST(ThresholdStop, TheSignalIsSmoothedExponentially) {
  const std::vector<double> values = {0.2, 0.9, 0.9, 0.9, 0.9, 0.9};
  Options chosen = options();
  chosen["signal"] = std::string("confidence");
  chosen["smoothing"] = 0.5;
  chosen["upper"] = 0.8;
  // 0.2, 0.55, 0.725, 0.8125
  EXPECT_EQ(replay_one(probed("aaaaaa", values), chosen).sequential_tokens, 400);
}

TEST(ThresholdStop, AConfidenceThatIsNotKnownYetIsNoReading) {
  const std::vector<double> values = {0.2, 0.9, 0.9, 0.9, 0.9, 0.9};
  Options chosen = options();
  chosen["signal"] = std::string("confidence");
  chosen["smoothing"] = 0.5;
  chosen["upper"] = 0.8;
  chosen["group"] = std::int64_t{200};  // so the 0.2 at 100 tokens is not there
  EXPECT_EQ(replay_one(probed("aaaaaa", values), chosen).sequential_tokens, 200);
}

TEST(ThresholdStop, GivesUpBelowTheScheduleWithoutAnAnswer) {
  const std::string answers = "abababababababab";  // stable share 1/4, 1/4, 2/4, 2/4, ...
  Options chosen = options();
  chosen["gives_up"] = true;
  chosen["base"] = 0.0;
  chosen["slope"] = 0.01;
  const RecordedQuestion question = probed(answers);
  const ReplayDraw draw = replay_one(question, chosen);
  // The lower threshold is sigmoid(0.01 * (tokens - 500)): 0.5 at 500 tokens.
  EXPECT_EQ(draw.sequential_tokens, 500);
  EXPECT_EQ(text(question, draw), "none");
  chosen["gives_up"] = false;
  EXPECT_EQ(replay_one(question, chosen).sequential_tokens, 1650);
}

TEST(ThresholdStop, NamesBadOptions) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, OptionValue>>{{"signal", std::string("mood")},
                                                        {"interval", std::int64_t{0}},
                                                        {"group", std::int64_t{0}},
                                                        {"smoothing", 0.0},
                                                        {"upper", std::nan("")},
                                                        {"budget", std::int64_t{0}}}) {
    Options chosen = options();
    chosen[name] = value;
    EXPECT_THROW(make_controller("threshold_stop", chosen), ValueError) << name;
  }
}

}  // namespace
}  // namespace foresight
