// Branches by a script: what each writes is fixed, how far it has come is the test's to say.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "control/conductor.h"

namespace foresight::testing {

inline constexpr std::int64_t kEndless = 1'000'000'000;

struct Script {
  std::int64_t length = kEndless;  // tokens at which it ends by itself
  AnswerId answer = kNoAnswer;
  std::map<std::int64_t, AnswerId> probes = {};  // by tokens; others have no answer
  double confidence = 1.0;
  std::int64_t bytes_per_token = 1;
};

// Everything is known at once unless `progress` says how far a branch has come.
class ScriptedStage final : public Stage {
 public:
  explicit ScriptedStage(std::vector<Script> written) : scripts(std::move(written)) {}

  struct End {
    std::int32_t branch;
    BranchStatus status;
    std::int64_t num_tokens;
    bool operator==(const End&) const = default;
  };

  std::vector<Script> scripts;         // of the branches, in the order in which they start
  std::vector<std::int64_t> progress;  // kEndless for a new one
  std::set<std::int32_t> starved;
  std::set<std::int32_t> pending;  // branches whose probes have no answer yet
  std::vector<End> ends;
  std::vector<std::pair<std::int32_t, std::int64_t>> forks;
  std::int64_t first_progress = kEndless;

  void start() override { progress.push_back(first_progress); }
  void fork(std::int32_t parent, std::int64_t num_tokens) override {
    forks.emplace_back(parent, num_tokens);
    progress.push_back(std::max(first_progress, num_tokens));
  }
  void end(std::int32_t branch, BranchStatus status, std::int64_t num_tokens) override {
    ends.push_back({branch, status, num_tokens});
  }
  std::int64_t num_tokens(std::int32_t branch) override {
    return std::min(progress.at(at(branch)), script(branch).length);
  }
  std::optional<Ending> ending(std::int32_t branch) override {
    const Script& written = script(branch);
    if (num_tokens(branch) < written.length || written.length == kEndless) return std::nullopt;
    return Ending{written.length, written.length, written.answer};
  }
  std::optional<AnswerId> probe(std::int32_t branch, std::int64_t num_tokens) override {
    if (pending.contains(branch)) return std::nullopt;
    const auto found = script(branch).probes.find(num_tokens);
    return found == script(branch).probes.end() ? kNoAnswer : found->second;
  }
  double confidence(std::int32_t branch, std::int64_t) override {
    return script(branch).confidence;
  }
  std::int64_t cache_bytes(std::int32_t branch, std::int64_t num_tokens) override {
    return num_tokens * script(branch).bytes_per_token;
  }
  bool is_starved(std::int32_t branch) override { return starved.contains(branch); }

 private:
  static std::size_t at(std::int32_t branch) { return static_cast<std::size_t>(branch); }
  const Script& script(std::int32_t branch) const { return scripts.at(at(branch)); }
};

// Runs a controller over branches that are known to their ends.
struct Played {
  Outcome outcome;
  std::vector<BranchRecord> branches;

  std::vector<BranchStatus> statuses() const {
    std::vector<BranchStatus> found;
    for (const BranchRecord& branch : branches) found.push_back(branch.status);
    return found;
  }
};

inline Played play(std::shared_ptr<Controller> controller, std::vector<Script> scripts) {
  ScriptedStage stage(std::move(scripts));
  Conductor conductor(std::move(controller), stage, EventOrder::virtual_time);
  conductor.run();
  if (!conductor.done()) throw std::runtime_error("not done");
  return {conductor.outcome(), {conductor.branches().begin(), conductor.branches().end()}};
}

}  // namespace foresight::testing
