#include "model/blocks/rope_table.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace foresight {

RopeTable::Table& RopeTable::table_for(std::int64_t rope_length) {
  const std::int64_t key = config_.scaled_length(rope_length);
  // Every distinct length has a table of its own; long-running servers see many.
  constexpr std::size_t kMaxTables = 64;
  if (tables_.size() >= kMaxTables && !tables_.contains(key)) tables_.clear();
  const auto [entry, is_new] = tables_.try_emplace(key);
  Table& table = entry->second;
  if (is_new) {
    table.inverse_frequencies = config_.inverse_frequencies;
    if (key > 0) {
      // NTK-aware base of the length the request may reach (transformers' "dynamic").
      const double head_dim = 2.0 * static_cast<double>(half_dim());
      const double ratio =
          config_.factor * static_cast<double>(key) / static_cast<double>(config_.original_length) -
          (config_.factor - 1.0);
      const double base = config_.theta * std::pow(ratio, head_dim / (head_dim - 2.0));
      for (std::int64_t d = 0; d < half_dim(); ++d) {
        const double exponent = 2.0 * static_cast<double>(d) / head_dim;
        table.inverse_frequencies[static_cast<std::size_t>(d)] =
            static_cast<float>(1.0 / std::pow(base, exponent));
      }
    }
  }
  return table;
}

void RopeTable::extend(Table& table, std::int64_t num_positions) const {
  const auto half = static_cast<std::size_t>(half_dim());
  auto position = static_cast<std::int64_t>(table.cos.size() / half);
  // Growing by half again keeps the number of reallocations small over a long generation.
  const std::int64_t target = std::max(num_positions, position + position / 2);
  table.cos.resize(static_cast<std::size_t>(target) * half);
  table.sin.resize(static_cast<std::size_t>(target) * half);
  for (; position < target; ++position) {
    for (std::size_t d = 0; d < half; ++d) {
      // The angle is rounded to float32 first: that is what checkpoints were trained with.
      const float angle = static_cast<float>(position) * table.inverse_frequencies[d];
      const auto at = static_cast<std::size_t>(position) * half + d;
      table.cos[at] =
          static_cast<float>(std::cos(static_cast<double>(angle))) * config_.attention_factor;
      table.sin[at] =
          static_cast<float>(std::sin(static_cast<double>(angle))) * config_.attention_factor;
    }
  }
}

void RopeTable::gather(std::int32_t position, std::int64_t rope_length, float* cos, float* sin) {
  FORESIGHT_CHECK(position >= 0, concat("position ", position));
  Table& table = table_for(rope_length);
  const auto half = static_cast<std::size_t>(half_dim());
  const auto at = static_cast<std::size_t>(position) * half;
  if (at + half > table.cos.size()) extend(table, static_cast<std::int64_t>(position) + 1);
  std::copy_n(table.cos.data() + at, half, cos);
  std::copy_n(table.sin.data() + at, half, sin);
}

}  // namespace foresight
