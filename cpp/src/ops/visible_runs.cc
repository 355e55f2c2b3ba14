#include <algorithm>

#include "ops/attention.h"

namespace foresight::ops {
namespace {

// Adds slot range [begin, end), joined to the last run when it continues it.
void add_run(std::vector<SlotRun>& runs, std::size_t first, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  if (runs.size() > first && runs.back().end == begin) {
    runs.back().end = static_cast<std::int32_t>(end);
  } else {
    runs.push_back({static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end)});
  }
}

bool within(std::int64_t window, std::int32_t a, std::int32_t b) {
  return window == 0 || std::abs(std::int64_t{a} - b) < window;
}

void add_cached(const AttentionSegment& segment, std::int32_t position, std::int64_t window,
                std::vector<SlotRun>& runs, std::size_t first) {
  std::int64_t begin = 0;
  std::int64_t end = segment.num_cached;
  if (window != 0 && segment.cached_positions == nullptr) {
    begin = std::clamp<std::int64_t>(position - window + 1, 0, segment.num_cached);
    end = std::clamp<std::int64_t>(position + window, begin, segment.num_cached);
  }
  if (window != 0 && segment.cached_positions != nullptr) {
    auto hidden = segment.hidden_slots.begin();
    for (std::int64_t slot = 0; slot < segment.num_cached; ++slot) {
      while (hidden != segment.hidden_slots.end() && *hidden < slot) ++hidden;
      const bool is_hidden = hidden != segment.hidden_slots.end() && *hidden == slot;
      if (!is_hidden && within(window, position, segment.cached_positions[slot]))
        add_run(runs, first, slot, slot + 1);
    }
    return;
  }
  for (const std::int32_t hidden : segment.hidden_slots) {
    if (hidden < begin) continue;
    if (hidden >= end) break;
    add_run(runs, first, begin, hidden);
    begin = hidden + 1;
  }
  add_run(runs, first, begin, end);
}

}  // namespace

void visible_runs(const AttentionSegment& segment, std::int64_t row, std::int64_t window,
                  std::vector<SlotRun>& out) {
  const std::size_t first = out.size();
  const std::int32_t position = segment.positions[row];
  add_cached(segment, position, window, out, first);
  const std::int64_t words = (segment.num_rows + 63) / 64;
  const std::uint64_t* ancestors =
      segment.ancestors == nullptr ? nullptr : segment.ancestors + row * words;
  for (std::int64_t key = 0; key < segment.num_rows; ++key) {
    const bool seen =
        key == row || (ancestors != nullptr ? ((ancestors[key / 64] >> (key % 64)) & 1u) != 0
                                            : segment.ranks[key] <= segment.limits[row]);
    if (seen && within(window, position, segment.positions[key])) {
      add_run(out, first, segment.num_cached + key, segment.num_cached + key + 1);
    }
  }
}

}  // namespace foresight::ops
