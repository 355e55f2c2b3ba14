// Answers to the asks of speculation: guesses, tests of guesses one by one, and of chains as a
// whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"
#include "rows/rows.h"
#include "sample/readouts.h"
#include "sample/verify_block.h"

namespace foresight {

// AskKind::draft. A guess is never worth an error: where every token is forbidden there is none.
void answer_draft(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                  std::span<const float> scores, const RngKey& key, std::uint64_t position,
                  RowReadout& out);

// AskKind::verify, by any rule but `block`; of a greedy request by the highest score.
void answer_verify(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                   std::span<const float> scores, const RngKey& key, std::uint64_t position,
                   RowReadout& out);

// AskKind::verify by the rule `block`, of a request that samples: the rows of one chain, in order.
class BlockAnswers {
 public:
  // Looks at a row; its readout `out` is filled in by finish() and must stay where it is.
  void add(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
           const RowScores& scores, const RngKey& key, std::uint64_t position, RowReadout& out);
  // True when further rows cannot matter.
  bool is_decided() const { return verifier_.is_decided(); }
  // Rows before the cut have accepted their drafts, the row at the cut has another token; those
  // after it have no answer.
  void finish();

 private:
  BlockVerifier<float> verifier_;
  std::vector<RowReadout*> rows_;
  std::vector<RowReadout> drafts_;  // of the rows: about their drafts
  std::size_t cut_ = 0;
  RowReadout follows_;  // of the row at the cut
};

}  // namespace foresight
