// Where the rows of a forward lie, what they see and how they turn: what all layers share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/blocks/attention_block.h"
#include "model/blocks/rope_table.h"
#include "model/port.h"

namespace foresight {

class StepRows {
 public:
  explicit StepRows(const ModelConfig& config);

  // Until the next call step() describes these rows; `batch` must live as long.
  void prepare(const ForwardBatch& batch);
  AttentionStep step(bool sliding) const;

  std::int64_t num_rows() const { return static_cast<std::int64_t>(slots_.size()); }
  // Rows that go through the model's adapter, ascending.
  std::span<const std::int32_t> adapter_rows() const { return adapter_rows_; }

 private:
  static void gather_rope(const ForwardBatch& batch, RopeTable& table, std::vector<float>& cos,
                          std::vector<float>& sin);

  RopeTable rope_full_;
  RopeTable rope_sliding_;
  bool has_full_ = false;
  bool has_sliding_ = false;
  std::vector<ops::KvSlot> slots_;  // [T]
  std::vector<ops::AttentionSegment> segments_;
  std::vector<std::int32_t> adapter_rows_;
  std::vector<float> cos_full_, sin_full_;  // [T, rotary_dim / 2]
  std::vector<float> cos_sliding_, sin_sliding_;
};

}  // namespace foresight
