// Which experts a row goes to, and with which weights: plain arithmetic on the scores of one row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"

namespace foresight {

struct RoutedExpert {
  std::int32_t expert = 0;
  float weight = 0.0f;
};

// Reused between rows.
struct RouterScratch {
  std::vector<float> scores;  // [num_experts]
  std::vector<float> choice;  // [num_experts]: scores plus bias, -inf outside the chosen groups
  std::vector<float> groups;  // [num_groups]
  std::vector<std::int32_t> order;
};

// The experts of a row with these logits [num_experts], ascending; ties go to the lower index.
// bias [num_experts], or empty.
void route(const ExpertsConfig& config, std::span<const float> logits, std::span<const float> bias,
           RouterScratch& scratch, std::vector<RoutedExpert>& out);

}  // namespace foresight
