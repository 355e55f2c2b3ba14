#include "engine/packer.h"

#include <algorithm>

#include "core/error.h"

namespace foresight {

namespace {

// Bit-sets of all rows of a segment: catch-up rows see the rows before them, planned rows see all
// catch-up rows and their own ancestors.
std::vector<std::uint64_t> widen_ancestors(const Segment& planned, std::int64_t num_catch_up) {
  const auto num_planned = static_cast<std::int64_t>(planned.rows.size());
  const std::int64_t total = num_catch_up + num_planned;
  const std::int64_t words = (total + 63) / 64;
  const std::int64_t planned_words = (num_planned + 63) / 64;
  FORESIGHT_CHECK(
      static_cast<std::int64_t>(planned.ancestors.size()) == num_planned * planned_words,
      "one bit-set per planned row");
  std::vector<std::uint64_t> bits(static_cast<std::size_t>(total * words), 0);
  const auto set = [&](std::int64_t row, std::int64_t bit) {
    bits[static_cast<std::size_t>(row * words + bit / 64)] |= std::uint64_t{1} << (bit % 64);
  };
  for (std::int64_t row = 0; row < total; ++row) {
    for (std::int64_t bit = 0; bit < std::min(row, num_catch_up); ++bit) set(row, bit);
    set(row, row);
  }
  for (std::int64_t row = 0; row < num_planned; ++row) {
    for (std::int64_t bit = 0; bit < num_planned; ++bit) {
      const std::uint64_t word =
          planned.ancestors[static_cast<std::size_t>(row * planned_words + bit / 64)];
      if ((word >> (bit % 64)) & 1u) set(num_catch_up + row, num_catch_up + bit);
    }
  }
  return bits;
}

// Ranks of planned rows come after those of the catch-up rows in front of them.
std::int32_t shift(std::int32_t rank, std::int64_t by) {
  return rank == kRankInfinity ? rank : static_cast<std::int32_t>(rank + by);
}

// Rank and limit of a catch-up row: its index, or that of its block.
std::int32_t catch_up_rank(const ModelConfig& config, std::int64_t cached, std::int64_t index) {
  if (config.attention != AttentionKind::block_causal) return static_cast<std::int32_t>(index);
  const std::int64_t first = cached / config.block_length;
  return static_cast<std::int32_t>((cached + index) / config.block_length - first);
}

}  // namespace

void pack(WorkItem& item, const ModelConfig& config, const Cache& cache, ForwardBatch& batch) {
  const Branch& branch = *item.branch;
  for (PackedSegment& segment : item.segments) {
    segment.first_row = static_cast<std::int64_t>(batch.tokens.size());
    const std::vector<Token>& context = branch.context(segment.role);
    for (std::int64_t i = 0; i < segment.num_catch_up; ++i) {
      const std::int64_t position = segment.cached + i;
      const std::int32_t rank = catch_up_rank(config, segment.cached, i);
      batch.add_row(context[static_cast<std::size_t>(position)], position, rank, rank);
    }
    segment.ancestors.clear();
    if (segment.plan_segment >= 0) {
      const Segment& planned = item.plan.segments[static_cast<std::size_t>(segment.plan_segment)];
      for (const Row& row : planned.rows) {
        batch.add_row(row.token, row.position, shift(row.rank, segment.num_catch_up),
                      shift(row.limit, segment.num_catch_up), row.adapter);
      }
      if (!planned.ancestors.empty())
        segment.ancestors = widen_ancestors(planned, segment.num_catch_up);
    }
    const Cache::Handle handle = branch.handles[static_cast<std::size_t>(segment.role)];
    batch.segments.push_back({.pages = cache.pages(handle),
                              .num_cached = segment.cached,
                              .first_row = segment.first_row,
                              .num_rows = segment.num_rows(),
                              .rope_length = branch.request->rope_length(),
                              .ancestors = segment.ancestors,
                              .hidden_slots = segment.replaced,
                              .cached_positions = {}});
  }
}

}  // namespace foresight
