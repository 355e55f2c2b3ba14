#include "ops/parity/attention_problem.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/rng.h"
#include "ops/parity/cases.h"

namespace foresight::ops::parity {
namespace {

constexpr std::int32_t kInfiniteRank = std::numeric_limits<std::int32_t>::max();

// Every row's parent is an earlier row or the cached text; ancestors[row] holds the path to it.
void grow_tree(std::uint64_t seed, AttentionSequence& sequence, std::int64_t num_rows) {
  const auto words = static_cast<std::size_t>((num_rows + 63) / 64);
  sequence.ancestors.assign(static_cast<std::size_t>(num_rows) * words, 0);
  for (std::size_t row = 0; row < static_cast<std::size_t>(num_rows); ++row) {
    const std::size_t parent = mix64(seed, row) % (row + 1);  // row itself: a root
    std::uint64_t* bits = sequence.ancestors.data() + row * words;
    if (parent < row) std::copy_n(sequence.ancestors.data() + parent * words, words, bits);
    bits[row / 64] |= std::uint64_t{1} << (row % 64);
    const auto cached = static_cast<std::size_t>(sequence.num_cached);
    sequence.positions[cached + row] =
        parent < row ? sequence.positions[cached + parent] + 1 : static_cast<std::int32_t>(cached);
  }
}

// Pages and their bytes, dealt out in a scattered order.
struct PagePool {
  PagePool(const AttentionShape& shape, std::int64_t at_least)
      : pages{.dtype = shape.dtype, .num_kv_heads = shape.num_kv_heads, .head_dim = shape.head_dim},
        size(at_least | 1),
        keys(static_cast<std::size_t>(size * pages.page_elements()) * size_of(shape.dtype)),
        values(keys.size()) {
    pages.keys = keys.data();
    pages.values = values.data();
    std::fill_n(keys.as<std::byte>(), keys.size(), std::byte{0xff});  // NaN in every storage type
    std::fill_n(values.as<std::byte>(), values.size(), std::byte{0xff});
  }
  // Every page once: size is odd.
  std::int32_t deal() { return static_cast<std::int32_t>((dealt++ * 2 + 1) % size); }

  KvPages pages;
  std::int64_t size;
  Buffer keys;
  Buffer values;
  std::int64_t dealt = 0;
};

}  // namespace

bool AttentionSequence::sees(std::int64_t row, std::int64_t slot, std::int64_t window) const {
  const std::int64_t own = num_cached + row;
  const auto position = [&](std::int64_t s) {
    return std::int64_t{positions[static_cast<std::size_t>(s)]};
  };
  if (window != 0 && std::abs(position(own) - position(slot)) >= window) return false;
  if (slot < num_cached) return !std::binary_search(hidden_slots.begin(), hidden_slots.end(), slot);
  if (slot == own) return true;
  const std::int64_t key = slot - num_cached;
  if (ancestors.empty())
    return ranks[static_cast<std::size_t>(key)] <= limits[static_cast<std::size_t>(row)];
  const std::int64_t words = (num_rows() + 63) / 64;
  return (ancestors[static_cast<std::size_t>(row * words + key / 64)] >> (key % 64) & 1u) != 0;
}

std::string_view name_of(Pattern pattern) {
  switch (pattern) {
    case Pattern::causal:
      return "causal";
    case Pattern::full:
      return "full";
    case Pattern::blocks:
      return "blocks";
    case Pattern::semi_causal:
      return "semi-causal";
    case Pattern::isolated_masks:
      return "isolated masks";
    case Pattern::tree:
      return "tree";
  }
  return "?";
}

AttentionSequence random_sequence(std::uint64_t seed, const AttentionShape& shape, Pattern pattern,
                                  std::int64_t num_cached, std::int64_t num_rows) {
  AttentionSequence sequence;
  sequence.num_cached = num_cached;
  const std::int64_t slots = num_cached + num_rows;
  for (std::int64_t slot = 0; slot < slots; ++slot)
    sequence.positions.push_back(static_cast<std::int32_t>(slot));
  const std::int64_t num_clean = num_rows / 3;  // of the patterns with masks
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const auto row = static_cast<std::int32_t>(i);
    const auto mask = static_cast<std::int32_t>(i - num_clean + 1);
    const bool clean = i < num_clean;
    switch (pattern) {
      case Pattern::full:
        sequence.ranks.push_back(0);
        break;
      case Pattern::blocks:
        sequence.ranks.push_back(row / 8);
        break;
      case Pattern::semi_causal:
        sequence.ranks.push_back(clean ? 0 : mask);
        break;
      case Pattern::isolated_masks:
        sequence.ranks.push_back(clean ? 0 : kInfiniteRank);
        break;
      case Pattern::causal:
      case Pattern::tree:
        sequence.ranks.push_back(row);
        break;
    }
    sequence.limits.push_back(pattern == Pattern::isolated_masks ? 0 : sequence.ranks.back());
  }
  if (pattern == Pattern::tree) grow_tree(seed, sequence, num_rows);
  sequence.q = random_values(seed + 1, num_rows * shape.num_heads * shape.head_dim, 2.0f);
  sequence.k = random_values(seed + 2, slots * shape.num_kv_heads * shape.head_dim, 2.0f);
  sequence.v = random_values(seed + 3, slots * shape.num_kv_heads * shape.head_dim, 2.0f);
  return sequence;
}

std::vector<float> run_attention(const CpuContext& context, const AttentionShape& shape,
                                 std::span<const AttentionSequence> sequences) {
  std::int64_t num_pages = 1;
  std::int64_t num_rows = 0;
  for (const AttentionSequence& sequence : sequences) {
    num_pages += (sequence.num_slots() + kPageSlots - 1) / kPageSlots;
    num_rows += sequence.num_rows();
  }
  PagePool pool(shape, num_pages);
  std::vector<std::vector<std::int32_t>> tables;
  std::vector<AttentionSegment> segments;
  std::vector<float> q;
  const std::int64_t kv_stride = shape.num_kv_heads * shape.head_dim;
  for (const AttentionSequence& sequence : sequences) {
    std::vector<std::int32_t>& table = tables.emplace_back();
    std::vector<KvSlot> slots;
    for (std::int64_t slot = 0; slot < sequence.num_slots(); ++slot) {
      const auto page = static_cast<std::size_t>(slot / kPageSlots);
      if (slot % kPageSlots == 0)
        table.push_back(slot < sequence.num_shared ? tables[0][page] : pool.deal());
      slots.push_back({table.back(), static_cast<std::int32_t>(slot % kPageSlots)});
    }
    kv_write(context, {.pages = pool.pages,
                       .slots = slots.data(),
                       .num_rows = sequence.num_slots(),
                       .k = sequence.k.data(),
                       .v = sequence.v.data(),
                       .stride = kv_stride});
    segments.push_back(
        {.pages = table.data(),
         .num_cached = sequence.num_cached,
         .num_rows = sequence.num_rows(),
         .first_row = static_cast<std::int64_t>(q.size()) / (shape.num_heads * shape.head_dim),
         .cached_positions = sequence.positions.data(),
         .positions = sequence.positions.data() + sequence.num_cached,
         .ranks = sequence.ranks.data(),
         .limits = sequence.limits.data(),
         .ancestors = sequence.ancestors.empty() ? nullptr : sequence.ancestors.data(),
         .hidden_slots = sequence.hidden_slots});
    q.insert(q.end(), sequence.q.begin(), sequence.q.end());
  }
  const std::int64_t row_size = shape.num_heads * shape.head_dim;
  std::vector<float> out(static_cast<std::size_t>(num_rows * row_size));
  AttentionScratch scratch;
  attention(context,
            {.q = q.data(),
             .q_stride = row_size,
             .num_heads = shape.num_heads,
             .pages = pool.pages,
             .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
             .window = shape.window,
             .segments = segments,
             .out = out.data(),
             .out_stride = row_size},
            scratch);
  return out;
}

std::vector<double> reference_attention(const AttentionShape& shape,
                                        const AttentionSequence& sequence,
                                        std::vector<double>& scale) {
  const std::int64_t dim = shape.head_dim;
  const auto value_of = [&](const std::vector<float>& values, std::int64_t index) {
    return static_cast<double>(stored(values[static_cast<std::size_t>(index)], shape.dtype));
  };
  std::vector<double> out(static_cast<std::size_t>(sequence.num_rows() * shape.num_heads * dim));
  scale.assign(out.size(), 0.0);
  const auto factor = static_cast<double>(1.0f / std::sqrt(static_cast<float>(dim)));
  for (std::int64_t stream = 0; stream < sequence.num_rows() * shape.num_heads; ++stream) {
    const std::int64_t row = stream / shape.num_heads;
    const std::int64_t kv_head = stream % shape.num_heads / (shape.num_heads / shape.num_kv_heads);
    std::vector<std::int64_t> visible;
    std::vector<double> scores;
    double greatest = -std::numeric_limits<double>::infinity();
    for (std::int64_t slot = 0; slot < sequence.num_slots(); ++slot) {
      if (!sequence.sees(row, slot, shape.window)) continue;
      double score = 0.0;
      for (std::int64_t d = 0; d < dim; ++d) {
        score += static_cast<double>(sequence.q[static_cast<std::size_t>(stream * dim + d)]) *
                 value_of(sequence.k, (slot * shape.num_kv_heads + kv_head) * dim + d);
      }
      visible.push_back(slot);
      scores.push_back(score * factor);
      greatest = std::max(greatest, scores.back());
    }
    double total = 0.0;
    for (double& score : scores) total += score = std::exp(score - greatest);
    for (std::size_t i = 0; i < visible.size(); ++i) {
      for (std::int64_t d = 0; d < dim; ++d) {
        const double term =
            scores[i] / total *
            value_of(sequence.v, (visible[i] * shape.num_kv_heads + kv_head) * dim + d);
        out[static_cast<std::size_t>(stream * dim + d)] += term;
        scale[static_cast<std::size_t>(stream * dim + d)] += std::abs(term);
      }
    }
  }
  return out;
}

}  // namespace foresight::ops::parity
