// What the answers to several kinds of asks are made of; see readouts.h for the rules.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/readout.h"
#include "rows/rows.h"
#include "sample/readouts.h"
#include "sample/row_math.h"

namespace foresight {

// Throws the ValueError of a row that no token can be taken from.
[[noreturn]] void throw_bad_row(std::span<const float> scores);
// The highest finite score. A NaN elsewhere in the row does not matter to it.
ops::MaxEntry best_of(const CpuContext& context, std::span<const float> scores);
Softmax checked_softmax(const CpuContext& context, std::span<const float> scores);
// The whole distribution, one weight per token.
std::vector<float> distribution_of(const CpuContext& context, std::span<const float> scores,
                                   const Softmax& softmax);
std::vector<TopEntry> top_entries(const CpuContext& context, std::span<const float> scores,
                                  std::int32_t count);
// What `options` want to know about the token that a row emits, out.token.
void fill_emitted(const CpuContext& context, const ReadoutOptions& options,
                  std::span<const float> raw, std::span<const float> processed, RowReadout& out);

}  // namespace foresight
