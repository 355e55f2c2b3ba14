// Self-attention of one layer: q/k/v projection, optional q/k norms, rotary embedding, K/V write,
// attention over the paged cache, output projection.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/blocks/linear.h"
#include "model/config.h"
#include "ops/attention.h"

namespace foresight {

// What all layers of a forward share. T rows.
struct AttentionStep {
  std::int64_t num_rows = 0;
  const ops::KvSlot* slots = nullptr;  // [T]: where each row's K/V go
  std::span<const ops::AttentionSegment> segments;
  const float* cos = nullptr;  // [T, rotary_dim / 2] of this layer's rotary embedding
  const float* sin = nullptr;
  std::span<const std::int32_t> adapter_rows;  // ascending
};

struct AttentionWorkspace {
  Scratch qkv;      // [T, (num_heads + 2 num_kv_heads) head_dim]
  Scratch context;  // [T, num_heads head_dim]
  ops::AttentionScratch attention;
  LinearScratch linear;
};

class AttentionBlock {
 public:
  // Reads layers.{layer}.{q, k, v, o and their biases, q_norm, k_norm}. num_inputs: what q, k and v
  // are computed from; 0: the hidden size.
  AttentionBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
                 std::int64_t layer, bool qk_norm, float norm_offset, DType storage,
                 std::int64_t num_inputs = 0);

  // out [T, hidden] (+)= attention(x [T, inputs]).
  void apply(const CpuContext& context, const AttentionStep& step, const ops::KvPages& pages,
             const float* x, float* out, bool accumulate, AttentionWorkspace& workspace) const;

  // Only writes the K/V of x [T, inputs]: for rows that are seen but see nothing.
  void write(const CpuContext& context, const AttentionStep& step, const ops::KvPages& pages,
             const float* x, AttentionWorkspace& workspace) const;

  std::size_t packed_bytes() const { return qkv_.packed_bytes() + output_.packed_bytes(); }

 private:
  // Norms, rotation and K/V write of one row.
  void finish_row(const CpuContext& context, const AttentionStep& step, const ops::KvPages& pages,
                  std::int64_t row, float* qkv) const;

  std::int64_t qkv_size() const { return (num_heads_ + 2 * num_kv_heads_) * head_dim_; }

  std::int64_t hidden_size_;
  std::int64_t num_inputs_;
  std::int64_t num_heads_;
  std::int64_t num_kv_heads_;
  std::int64_t head_dim_;
  std::int64_t rotary_dim_;
  float scale_;
  float eps_;
  std::int64_t window_;  // 0: none
  Linear qkv_;
  Linear output_;
  std::vector<float> q_norm_;  // [head_dim], or empty
  std::vector<float> k_norm_;
};

}  // namespace foresight
