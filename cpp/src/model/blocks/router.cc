#include "model/blocks/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace foresight {

namespace {

void score(const ExpertsConfig& config, std::span<const float> logits, std::vector<float>& scores) {
  scores.assign(logits.begin(), logits.end());
  if (config.sigmoid) {
    for (float& value : scores) value = 1.0f / (1.0f + std::exp(-value));
    return;
  }
  const float highest = *std::max_element(scores.begin(), scores.end());
  float sum = 0.0f;
  for (float& value : scores) {
    value = std::exp(value - highest);
    sum += value;
  }
  for (float& value : scores) value /= sum;
}

// The indices of the `count` highest values, best first.
void best(std::span<const float> values, std::int64_t count, std::vector<std::int32_t>& order) {
  order.resize(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const float x = values[static_cast<std::size_t>(a)];
                      const float y = values[static_cast<std::size_t>(b)];
                      return x > y || (!(y > x) && a < b);
                    });
  order.resize(static_cast<std::size_t>(count));
}

// Leaves only the groups whose two best experts sum highest.
void keep_groups(const ExpertsConfig& config, RouterScratch& scratch) {
  const std::int64_t size = config.num_experts / config.num_groups;
  scratch.groups.clear();
  for (std::int64_t g = 0; g < config.num_groups; ++g) {
    float first = -std::numeric_limits<float>::infinity();
    float second = first;
    for (std::int64_t i = g * size; i < (g + 1) * size; ++i) {
      const float value = scratch.choice[static_cast<std::size_t>(i)];
      second = std::max(second, std::min(first, value));
      first = std::max(first, value);
    }
    scratch.groups.push_back(first + second);
  }
  best(scratch.groups, config.top_groups, scratch.order);
  std::sort(scratch.order.begin(), scratch.order.end());
  for (std::int32_t g = 0; g < config.num_groups; ++g) {
    if (std::binary_search(scratch.order.begin(), scratch.order.end(), g)) continue;
    std::fill_n(scratch.choice.begin() + g * size, size, -std::numeric_limits<float>::infinity());
  }
}

}  // namespace

void route(const ExpertsConfig& config, std::span<const float> logits, std::span<const float> bias,
           RouterScratch& scratch, std::vector<RoutedExpert>& out) {
  score(config, logits, scratch.scores);
  scratch.choice = scratch.scores;
  for (std::size_t i = 0; i < bias.size(); ++i) scratch.choice[i] += bias[i];
  // A NaN compares with nothing: no order would be left to sort by.
  for (float& value : scratch.choice) {
    if (std::isnan(value)) value = -std::numeric_limits<float>::infinity();
  }
  if (config.num_groups > 1) keep_groups(config, scratch);
  best(scratch.choice, config.experts_per_token, scratch.order);

  float sum = 1e-20f;
  for (const std::int32_t e : scratch.order) sum += scratch.scores[static_cast<std::size_t>(e)];
  std::sort(scratch.order.begin(), scratch.order.end());
  out.clear();
  for (const std::int32_t e : scratch.order) {
    const float weight = scratch.scores[static_cast<std::size_t>(e)];
    out.push_back({e, (config.normalize ? weight / sum : weight) * config.scale});
  }
}

}  // namespace foresight
