// cos and sin of every position, computed once, in float32 as transformers computes them.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "model/config.h"

namespace foresight {

class RopeTable {
 public:
  explicit RopeTable(const RopeConfig& config) : config_(config) {}

  std::int64_t half_dim() const {
    return static_cast<std::int64_t>(config_.inverse_frequencies.size());
  }
  // Writes cos and sin [half_dim] of `position` for a request that may reach `rope_length`
  // positions (only dynamic scaling looks at it: its base is fixed per request).
  void gather(std::int32_t position, std::int64_t rope_length, float* cos, float* sin);

 private:
  struct Table {
    std::vector<float> inverse_frequencies;
    std::vector<float> cos;  // [positions so far, half_dim]
    std::vector<float> sin;
  };
  Table& table_for(std::int64_t rope_length);
  void extend(Table& table, std::int64_t num_positions) const;

  RopeConfig config_;
  std::map<std::int64_t, Table> tables_;  // by rope_length; 0: not scaled by length
};

}  // namespace foresight
