// What a controller sees of the branches of one request.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "control/answer_book.h"

namespace foresight {

// running: not ended, whether it is being decoded now or waits for memory. finished: ended by
// itself. pruned: ended by the controller, without a vote. stopped: was running when the request
// ended.
enum class BranchStatus : std::uint8_t { running, finished, pruned, stopped };
const char* name_of(BranchStatus status);

struct ProbeReading {
  std::int64_t num_tokens = 0;  // of the branch when it was probed
  AnswerId answer = kNoAnswer;
};

// One branch, at the clock of the event that is being told. Tokens are those after the prompt.
struct BranchRecord {
  BranchStatus status = BranchStatus::running;
  std::int32_t parent = -1;    // the branch that it was forked from; -1: the prompt
  std::int64_t start = 0;      // clock at which it began
  std::int64_t inherited = 0;  // tokens that it had then
  std::int64_t num_tokens = 0;
  AnswerId answer = kNoAnswer;  // of a finished branch its own, else that of its last probe
  double confidence = std::numeric_limits<double>::quiet_NaN();  // NaN: not wanted, or not known
  std::int64_t cache_bytes = 0;                                  // 0: not wanted
  std::vector<ProbeReading> probes;
  std::string reason;  // why it ended; empty while it runs

  bool is_running() const { return status == BranchStatus::running; }
  bool is_finished() const { return status == BranchStatus::finished; }
};

struct Vote {
  AnswerId answer = kNoAnswer;
  double weight = 0.0;
};

// The state of a request at one event; valid during the call only.
//
// The clock counts tokens: it stands at the largest start + tokens reached so far, so that branches
// that decode side by side share it, and branches that follow each other add up.
class BranchesView {
 public:
  BranchesView(std::span<const BranchRecord> branches, std::int64_t clock)
      : branches_(branches), clock_(clock) {}

  std::int64_t clock() const { return clock_; }
  std::int32_t size() const { return static_cast<std::int32_t>(branches_.size()); }
  const BranchRecord& operator[](std::int32_t branch) const {
    return branches_[static_cast<std::size_t>(branch)];
  }
  std::span<const BranchRecord> branches() const { return branches_; }
  std::int32_t num_with(BranchStatus status) const;

  // One vote per answer, heaviest first; a tie goes to the answer that comes first in the order of
  // branches. Branches without an answer do not vote.
  std::vector<Vote> finished_votes() const;    // finished branches only
  std::vector<Vote> current_votes() const;     // all but pruned ones, by their last known answers
  std::vector<Vote> confidence_votes() const;  // finished ones, weighted by their confidence

 private:
  std::span<const BranchRecord> branches_;
  std::int64_t clock_;
};

}  // namespace foresight
