#include "model/blocks/step_rows.h"

#include "core/error.h"

namespace foresight {

StepRows::StepRows(const ModelConfig& config)
    : rope_full_(config.rope_full), rope_sliding_(config.rope_sliding) {
  for (const bool sliding : config.layer_is_sliding) (sliding ? has_sliding_ : has_full_) = true;
}

AttentionStep StepRows::step(bool sliding) const {
  return {.num_rows = num_rows(),
          .slots = slots_.data(),
          .segments = segments_,
          .cos = (sliding ? cos_sliding_ : cos_full_).data(),
          .sin = (sliding ? sin_sliding_ : sin_full_).data(),
          .adapter_rows = adapter_rows_};
}

void StepRows::gather_rope(const ForwardBatch& batch, RopeTable& table, std::vector<float>& cos,
                           std::vector<float>& sin) {
  const std::int64_t half = table.half_dim();
  cos.resize(batch.tokens.size() * static_cast<std::size_t>(half));
  sin.resize(cos.size());
  for (const SegmentInput& segment : batch.segments) {
    for (std::int64_t row = segment.first_row; row < segment.first_row + segment.num_rows; ++row) {
      table.gather(batch.positions[static_cast<std::size_t>(row)], segment.rope_length,
                   cos.data() + row * half, sin.data() + row * half);
    }
  }
}

void StepRows::prepare(const ForwardBatch& batch) {
  segments_.clear();
  slots_.clear();
  for (const SegmentInput& segment : batch.segments) {
    FORESIGHT_CHECK(segment.first_row == static_cast<std::int64_t>(slots_.size()),
                    "segments must be packed");
    for (std::int64_t i = 0; i < segment.num_rows; ++i) {
      const std::int64_t slot = segment.num_cached + i;
      slots_.push_back({segment.pages[static_cast<std::size_t>(slot / ops::kPageSlots)],
                        static_cast<std::int32_t>(slot % ops::kPageSlots)});
    }
    segments_.push_back(
        {.pages = segment.pages.data(),
         .num_cached = segment.num_cached,
         .num_rows = segment.num_rows,
         .first_row = segment.first_row,
         .cached_positions =
             segment.cached_positions.empty() ? nullptr : segment.cached_positions.data(),
         .positions = batch.positions.data() + segment.first_row,
         .ranks = batch.ranks.data() + segment.first_row,
         .limits = batch.limits.data() + segment.first_row,
         .ancestors = segment.ancestors.empty() ? nullptr : segment.ancestors.data(),
         .hidden_slots = segment.hidden_slots});
  }
  FORESIGHT_CHECK(slots_.size() == batch.tokens.size(), "every row belongs to a segment");
  adapter_rows_.clear();
  for (std::size_t row = 0; row < batch.adapter.size(); ++row) {
    if (batch.adapter[row] != 0) adapter_rows_.push_back(static_cast<std::int32_t>(row));
  }
  if (has_full_) gather_rope(batch, rope_full_, cos_full_, sin_full_);
  if (has_sliding_) gather_rope(batch, rope_sliding_, cos_sliding_, sin_sliding_);
}

}  // namespace foresight
