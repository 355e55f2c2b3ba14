// The runs of slots that a row sees, against the rule applied key by key.
#include <gtest/gtest.h>

#include <numeric>

#include "core/rng.h"
#include "ops/attention.h"
#include "ops/parity/attention_problem.h"

namespace foresight::ops {
namespace {

using parity::AttentionSequence;
using parity::Pattern;

std::vector<std::int32_t> slots_of(const std::vector<SlotRun>& runs) {
  std::vector<std::int32_t> slots;
  for (const SlotRun& run : runs) {
    for (std::int32_t slot = run.begin; slot < run.end; ++slot) slots.push_back(slot);
  }
  return slots;
}

void expect_rule(const AttentionSequence& sequence, std::int64_t window, bool positions_given) {
  const AttentionSegment segment{
      .num_cached = sequence.num_cached,
      .num_rows = sequence.num_rows(),
      .cached_positions = positions_given ? sequence.positions.data() : nullptr,
      .positions = sequence.positions.data() + sequence.num_cached,
      .ranks = sequence.ranks.data(),
      .limits = sequence.limits.data(),
      .ancestors = sequence.ancestors.empty() ? nullptr : sequence.ancestors.data(),
      .hidden_slots = sequence.hidden_slots};
  for (std::int64_t row = 0; row < sequence.num_rows(); ++row) {
    std::vector<std::int32_t> wanted;
    for (std::int64_t slot = 0; slot < sequence.num_slots(); ++slot) {
      if (sequence.sees(row, slot, window)) wanted.push_back(static_cast<std::int32_t>(slot));
    }
    std::vector<SlotRun> runs;
    visible_runs(segment, row, window, runs);
    ASSERT_EQ(slots_of(runs), wanted) << "row " << row << ", window " << window;
    for (std::size_t i = 1; i < runs.size(); ++i)
      EXPECT_GT(runs[i].begin, runs[i - 1].end) << "runs are joined";
  }
}

TEST(VisibleRuns, FollowTheRule) {
  const parity::AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 2};
  for (const Pattern pattern : {Pattern::causal, Pattern::full, Pattern::blocks,
                                Pattern::semi_causal, Pattern::isolated_masks, Pattern::tree}) {
    for (const std::int64_t cached : {0, 1, 40}) {
      AttentionSequence sequence = random_sequence(7, shape, pattern, cached, 33);
      for (const std::int64_t window : {0, 1, 10, 50}) {
        expect_rule(sequence, window, false);
        expect_rule(sequence, window, true);
      }
      if (cached < 40) continue;
      sequence.hidden_slots = {0, 5, 6, 39};
      // Cached positions need not follow the slots.
      for (std::size_t slot = 0; slot < 40; ++slot) {
        sequence.positions[slot] = static_cast<std::int32_t>(mix64(3, slot) % 80);
      }
      for (const std::int64_t window : {0, 10, 50}) expect_rule(sequence, window, true);
    }
  }
}

TEST(VisibleRuns, WideTrees) {
  const parity::AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 2};
  const AttentionSequence sequence = random_sequence(9, shape, Pattern::tree, 3, 130);
  for (const std::int64_t window : {0, 2}) expect_rule(sequence, window, true);
}

}  // namespace
}  // namespace foresight::ops
