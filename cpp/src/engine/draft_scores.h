// From a row of scores that a drafter's model gives to guesses in the target's vocabulary, as the
// request would have them. A guess is never worth an error: where every token is forbidden there is
// none.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu_context.h"
#include "decode/drafter.h"
#include "rows/rows.h"

namespace foresight {

// `own` in the target's vocabulary, processed as the request does behind `history`; it may be
// changed in place, or `storage` takes the result. to_target: per token of the drafter the
// target's, or kNoToken; empty: the same, of which the drafter may lack the last ones.
std::span<float> target_scores(std::span<float> own, std::span<const Token> to_target,
                               std::int64_t target_vocab, const DraftTask& task,
                               std::span<const Token> history, std::vector<float>& storage);

// Guess number `depth`, from 1, of the task, at `position`; kNoToken: none.
RowReadout draw_guess(const CpuContext& context, const DraftTask& task, std::span<float> scores,
                      std::int64_t depth, std::int64_t position);

// The likeliest guesses, best first: as many as the task's tree is wide.
std::vector<TopEntry> best_guesses(const CpuContext& context, const DraftTask& task,
                                   std::span<float> scores, std::int64_t position);

}  // namespace foresight
