// What a job tells its trace.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <variant>

#include "cpp/engine/rig.h"
#include "cpp/engine/test_policies.h"

namespace foresight::engine_test {
namespace {

struct Told {
  std::string kind;
  std::int64_t branch = -1;
  std::map<std::string, IntList> lists;
  std::map<std::string, std::vector<double>> numbers;
  std::map<std::string, std::int64_t> counts;
};

class Listener final : public TraceSink {
 public:
  explicit Listener(std::vector<Told>& told) : told_(told) {}
  void write(const TraceEvent& event) override {
    Told& one = told_.emplace_back();
    one.kind = event.kind;
    one.branch = event.branch;
    for (const TraceField& field : event.fields) {
      const std::string name(field.name);
      if (const auto* list = std::get_if<IntList>(&field.value)) one.lists[name] = *list;
      if (const auto* list = std::get_if<std::vector<double>>(&field.value))
        one.numbers[name] = *list;
      if (const auto* count = std::get_if<std::int64_t>(&field.value)) one.counts[name] = *count;
    }
  }
  void flush() override {}

 private:
  std::vector<Told>& told_;
};

std::vector<Told> trace_of(Rig& rig, const std::vector<RequestSpec>& specs,
                           std::vector<Tokens>& tokens) {
  std::vector<Told> told;
  Job job(rig.engine);
  job.set_trace(std::make_unique<Listener>(told));
  for (const RequestSpec& spec : specs) job.add(spec);
  job.advance(Until::done, no_poll);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::int64_t j = 0; j < specs[i].num_sequences; ++j)
      tokens.push_back(new_tokens(job, static_cast<std::int64_t>(i), j));
  }
  return told;
}

TEST(EngineJobTrace, TellsEveryTokenWithItsPosition) {
  Rig rig;
  std::vector<Tokens> tokens;
  const std::vector<RequestSpec> specs = mixed_specs();
  std::map<std::int64_t, Tokens> seen;
  std::map<std::int64_t, std::int64_t> starts;
  for (const Told& event : trace_of(rig, specs, tokens)) {
    if (event.kind == "request") {
      EXPECT_TRUE(event.lists.at("masks").empty());
      for (std::int64_t i = 0; i < event.counts.at("sequences"); ++i)
        starts[event.branch + i] = std::ssize(event.lists.at("prompt"));
    }
    if (event.kind != "commit") continue;
    Tokens& line = seen[event.branch];
    const IntList& positions = event.lists.at("positions");
    ASSERT_EQ(positions.size(), event.lists.at("tokens").size());
    for (std::size_t i = 0; i < positions.size(); ++i) {
      EXPECT_EQ(positions[i], starts[event.branch] + std::ssize(line));
      line.push_back(static_cast<Token>(event.lists.at("tokens")[i]));
    }
    EXPECT_EQ(event.counts.at("final"), std::ssize(line));
    EXPECT_TRUE(event.numbers.at("confidences").empty()) << "nobody asked for any";
  }
  ASSERT_EQ(seen.size(), tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i)
    EXPECT_EQ(seen[static_cast<std::int64_t>(i)], tokens[i]);
}

TEST(EngineJobTrace, LogprobsAreConfidencesWhereNoOthersAreRead) {
  RequestSpec spec = make_spec(some_tokens(5, 1), 4, true, 3);
  spec.logprobs = 0;
  Rig rig;
  std::vector<Told> told;
  Job job(rig.engine);
  job.set_trace(std::make_unique<Listener>(told));
  job.add(spec);
  job.advance(Until::done, no_poll);
  std::size_t next = 0;
  for (const Told& event : told) {
    if (event.kind != "commit") continue;
    const std::vector<double>& confidences = event.numbers.at("confidences");
    ASSERT_EQ(confidences.size(), 1);
    EXPECT_EQ(confidences[0], std::exp(double{job.branch(0, 0).readouts.at(next++).raw_logprob}));
  }
  EXPECT_EQ(next, 4);
}

}  // namespace
}  // namespace foresight::engine_test
