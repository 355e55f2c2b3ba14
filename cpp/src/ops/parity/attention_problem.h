// A batch of sequences for the attention op, held as plain keys and values, and what the rule says
// about it in float64: for the parity cases and the tests of bit equality.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu_context.h"
#include "core/dtype.h"
#include "ops/attention.h"

namespace foresight::ops::parity {

struct AttentionShape {
  DType dtype = DType::f32;
  std::int64_t num_heads = 4;
  std::int64_t num_kv_heads = 2;
  std::int64_t head_dim = 64;
  std::int64_t window = 0;
};

// One sequence: slots [0, num_cached) are cached, the rest are its rows.
struct AttentionSequence {
  std::int64_t num_cached = 0;
  std::int64_t num_shared = 0;  // leading cached slots that lie in the first sequence's pages;
                                // a multiple of kPageSlots, with equal keys and values
  std::vector<std::int32_t> positions;  // of all slots
  std::vector<std::int32_t> ranks;      // of the rows
  std::vector<std::int32_t> limits;
  std::vector<std::uint64_t> ancestors;  // empty: ranks and limits
  std::vector<std::int32_t> hidden_slots;
  std::vector<float> q;  // [rows, num_heads, head_dim]
  std::vector<float> k;  // [slots, num_kv_heads, head_dim]
  std::vector<float> v;

  std::int64_t num_slots() const { return static_cast<std::int64_t>(positions.size()); }
  std::int64_t num_rows() const { return num_slots() - num_cached; }
  // The rule of ops/attention.h, key by key.
  bool sees(std::int64_t row, std::int64_t slot, std::int64_t window) const;
};

// The forms of segments that strategies produce.
enum class Pattern { causal, full, blocks, semi_causal, isolated_masks, tree };
std::string_view name_of(Pattern pattern);

// Random keys, values and queries; positions follow the slots, those of a tree follow its depth.
AttentionSequence random_sequence(std::uint64_t seed, const AttentionShape& shape, Pattern pattern,
                                  std::int64_t num_cached, std::int64_t num_rows);

// The output rows of all sequences, one after another: [rows, num_heads, head_dim]. Pages are dealt
// in a scattered order; unused slots hold NaN.
std::vector<float> run_attention(const CpuContext& context, const AttentionShape& shape,
                                 std::span<const AttentionSequence> sequences);

// One sequence's rows in float64, from K and V as stored; `scale` receives sum |p v| per output.
std::vector<double> reference_attention(const AttentionShape& shape,
                                        const AttentionSequence& sequence,
                                        std::vector<double>& scale);

}  // namespace foresight::ops::parity
