#include "decode/block_rules.h"

#include <algorithm>
#include <utility>

namespace foresight {

std::size_t window_quota(std::int64_t length, std::int64_t steps, std::int64_t step) {
  return static_cast<std::size_t>(length / steps + (step < length % steps ? 1 : 0));
}

std::size_t count_above(std::span<const Proposal> sorted, double threshold, std::size_t floor) {
  std::size_t count = 0;
  while (count < sorted.size() && sorted[count].confidence > threshold) ++count;
  return std::min(std::max(count, floor), sorted.size());
}

std::size_t count_within_entropy(std::span<const Proposal> sorted, double bound,
                                 std::size_t floor) {
  std::size_t count = 0;
  double sum = 0.0;
  while (count < sorted.size() && sum <= bound) sum -= sorted[count++].confidence;
  return std::min(std::max(count, floor), sorted.size());
}

std::vector<std::size_t> top_as_torch(std::span<const double> values, std::size_t count) {
  std::vector<std::pair<float, std::size_t>> queue;
  for (std::size_t i = 0; i < values.size(); ++i)
    queue.emplace_back(static_cast<float>(values[i]), i);
  count = std::min(count, queue.size());
  if (count > 0) {
    const auto is_better = [](const auto& a, const auto& b) { return a.first > b.first; };
    const auto last = queue.begin() + static_cast<std::ptrdiff_t>(count);
    if (count * 64 <= queue.size()) {
      std::partial_sort(queue.begin(), last, queue.end(), is_better);
    } else {
      std::nth_element(queue.begin(), last - 1, queue.end(), is_better);
    }
  }
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(queue[i].second);
  return chosen;
}

}  // namespace foresight
