// Recorded branches on a stage: what a controller would have decided, without a model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "control/conductor.h"

namespace foresight {

struct RecordedConfidence {
  std::int64_t num_tokens = 0;
  double value = 0.0;
};

struct RecordedBranch {
  std::vector<ProbeReading> probes;  // by rising tokens
  // By rising tokens; between two entries the first of them holds.
  std::vector<RecordedConfidence> confidences;
  std::int64_t num_tokens = 0;
  bool is_finished = true;  // false: ended at num_tokens by the controller of the recorded run
  AnswerId answer = kNoAnswer;
};

struct RecordedQuestion {
  std::string label;  // names it in errors
  AnswerBook answers;
  std::vector<RecordedBranch> branches;
  // Positive: the released Parallel-Probe format, whose probe k (from 1) was read at k * probe_grid
  // tokens. A controller that probes regularly hears of a branch's ending in the first round that
  // finds no probe, whatever its tokens are, and the branch is charged for the rounds before.
  // 0: probes lie where they lie, and an ending is heard of at its tokens.
  std::int64_t probe_grid = 0;
  std::int64_t confidence_group = 0;  // tokens of a group of its confidences; 0: nobody said

  // Adds a branch. Throws ValueError for tokens that are negative, do not rise or are too many.
  void add(RecordedBranch branch);
  // Throws ValueError for a probe grid or a group that is out of range.
  void check() const;
};

// The branches of a question in a drawn order: start() takes the next one. Throws ValueError, with
// the names of question and branch, for what the record lacks.
class RecordedStage final : public Stage {
 public:
  // order: indices of the question's branches. Both are borrowed.
  RecordedStage(const RecordedQuestion& question, std::span<const std::int32_t> order,
                const Needs& needs)
      : question_(question), order_(order), needs_(needs) {}

  void start() override;
  void fork(std::int32_t parent, std::int64_t num_tokens) override;
  void end(std::int32_t, BranchStatus, std::int64_t) override {}
  std::int64_t num_tokens(std::int32_t branch) override { return branch_at(branch).num_tokens; }
  std::optional<Ending> ending(std::int32_t branch) override;
  std::optional<AnswerId> probe(std::int32_t branch, std::int64_t num_tokens) override;
  double confidence(std::int32_t branch, std::int64_t num_tokens) override;
  std::int64_t cache_bytes(std::int32_t branch, std::int64_t num_tokens) override;
  bool is_starved(std::int32_t) override { return false; }

  // Says what the record lacked for a run over these branches to go on.
  [[noreturn]] void throw_missing(std::span<const BranchRecord> branches) const;

 private:
  static constexpr std::int64_t kNone = -1;
  const RecordedBranch& branch_at(std::int32_t branch) const {
    return question_.branches[static_cast<std::size_t>(order_[static_cast<std::size_t>(branch)])];
  }
  std::string name_of_branch(std::int32_t branch) const;

  const RecordedQuestion& question_;
  std::span<const std::int32_t> order_;
  Needs needs_;
  // Per started branch the tokens of the first probe that was asked for and is not recorded. Nobody
  // is told before its turn comes, and it may not come.
  std::vector<std::int64_t> missing_probes_;
};

// What one draw comes to. A branch is charged its tokens, at least those at its last regular probe,
// and probe_cost tokens for each probe read.
struct ReplayDraw {
  AnswerId answer = kNoAnswer;
  std::int64_t sequential_tokens = 0;  // the largest start + charge
  std::int64_t total_tokens = 0;
  std::int64_t probes = 0;
};

// Throws ValueError for an order that does not fit the question, and for what the record lacks.
ReplayDraw replay(const RecordedQuestion& question, std::span<const std::int32_t> order,
                  std::shared_ptr<Controller> controller, std::int64_t probe_cost);

// One draw per order and controller, on num_threads threads (0: all).
std::vector<ReplayDraw> replay_draws(const RecordedQuestion& question,
                                     std::span<const std::vector<std::int32_t>> orders,
                                     std::span<const std::shared_ptr<Controller>> controllers,
                                     std::int64_t probe_cost, int num_threads);

// The majority answer of the branches of an order, by their own ends; a tie goes to the first in
// it. Nothing when one of them was cut short: nobody knows.
std::optional<AnswerId> full_vote(const RecordedQuestion& question,
                                  std::span<const std::int32_t> order);

}  // namespace foresight
