#include "sample/row_math.h"

#include <array>
#include <cmath>
#include <cstdint>

namespace foresight {
namespace {

// Scores tested together: few rows of a vocabulary hold many candidates, so whole blocks fall away
// on one branch, and a loop of constant length is one that compilers vectorise.
constexpr std::size_t kBlock = 32;

// Calls visit(token, score) for scores that pass, in ascending order, while it returns true.
template <typename Passes, typename Visit>
void visit_passing(std::span<const float> scores, Passes passes, Visit visit) {
  for (std::size_t begin = 0; begin < scores.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, scores.size());
    if (end - begin == kBlock) {
      const float* block = scores.data() + begin;
      int any = 0;
      for (std::size_t i = 0; i < kBlock; ++i) any |= static_cast<int>(passes(block[i]));
      if (any == 0) continue;
    }
    for (std::size_t i = begin; i < end; ++i) {
      if (passes(scores[i]) && !visit(static_cast<Token>(i), scores[i])) return;
    }
  }
}

}  // namespace

double Softmax::log_sum_exp() const { return static_cast<double>(max) + std::log(sum); }

double Softmax::probability(float score) const {
  return std::exp(static_cast<double>(score) - static_cast<double>(max)) / sum;
}

std::optional<Softmax> softmax_of(const CpuContext& context, std::span<const float> scores) {
  Softmax softmax;
  if (const auto few = few_allowed(scores)) {
    if (few->empty()) return std::nullopt;
    // is_better is no order among NaN, but the sum finds any.
    const Candidate best = *std::min_element(few->begin(), few->end(), is_better);
    softmax = {best.key, best.token, 0.0};
    for (const Candidate& candidate : *few) {
      softmax.sum += std::exp(static_cast<double>(candidate.key) - best.key);
    }
  } else {
    const auto size = static_cast<std::int64_t>(scores.size());
    const ops::MaxEntry best = ops::argmax(context, scores.data(), size);
    softmax = {best.value, static_cast<Token>(best.index), 0.0};
    if (!std::isfinite(best.value)) return std::nullopt;
    softmax.sum = ops::exp_sum(context, scores.data(), size, best.value);
  }
  if (!std::isfinite(softmax.sum)) return std::nullopt;
  return softmax;
}

double entropy_of(const CpuContext& context, std::span<const float> scores,
                  const Softmax& softmax) {
  // H = log(sum) - E[score - max].
  double weighted = 0.0;
  if (const auto few = few_allowed(scores)) {
    for (const Candidate& candidate : *few) {
      const double below = static_cast<double>(candidate.key) - softmax.max;
      weighted += std::exp(below) * below;
    }
  } else {
    std::array<float, 2048> weights;
    std::array<double, 4> lanes{};
    for (std::size_t begin = 0; begin < scores.size(); begin += weights.size()) {
      const std::size_t count = std::min(weights.size(), scores.size() - begin);
      ops::exp_sum(context, scores.data() + begin, static_cast<std::int64_t>(count), softmax.max,
                   weights.data());
      for (std::size_t i = 0; i < count; ++i) {
        // A weight of 0 may belong to a score of -infinity, and its term is 0.
        if (weights[i] > 0.0f) {
          const double below = static_cast<double>(scores[begin + i]) - softmax.max;
          lanes[i % lanes.size()] += static_cast<double>(weights[i]) * below;
        }
      }
    }
    weighted = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  }
  return std::max(0.0, std::log(softmax.sum) - weighted / softmax.sum);
}

void forbid_below(std::span<float> scores, float threshold) {
  change_each(scores, [threshold](float s) { return s < threshold ? kForbidden : s; });
}

std::vector<Candidate> collect_from(std::span<const float> scores, double threshold) {
  // The float below the nearest one: whatever reaches the threshold is above it.
  const float below = std::nextafter(static_cast<float>(threshold), kForbidden);
  std::vector<Candidate> found;
  visit_passing(
      scores, [below](float score) { return score > below; },
      [&found](Token token, float score) {
        found.push_back({score, token});
        return true;
      });
  return found;
}

std::vector<Candidate> select_best(std::span<const float> scores, std::size_t count) {
  std::vector<Candidate> best;
  if (count == 0) return best;
  const auto keep_best = [&best, count] {
    std::nth_element(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count - 1),
                     best.end(), is_better);
    best.resize(count);
  };
  // Whenever the buffer is full, its better half stays and raises the bar. Tokens come in ascending
  // order, so one that only equals the bar is worse than all that stayed.
  const std::size_t capacity = 2 * std::min(count, scores.size()) + kBlock;
  best.reserve(capacity);
  float bar = kForbidden;
  visit_passing(
      scores, [&bar](float score) { return score > bar; },
      [&](Token token, float score) {
        best.push_back({score, token});
        if (best.size() == capacity) {
          keep_best();
          bar = best.back().key;
        }
        return true;
      });
  if (best.size() > count) keep_best();
  return best;
}

std::optional<std::vector<Candidate>> few_allowed(std::span<const float> scores) {
  constexpr std::size_t kFew = 1024;
  std::vector<Candidate> allowed;
  visit_passing(
      scores, [](float score) { return score != kForbidden; },
      [&allowed](Token token, float score) {
        allowed.push_back({score, token});
        return allowed.size() <= kFew;
      });
  if (allowed.size() > kFew) return std::nullopt;
  return allowed;
}

void forbid_all_but(std::span<float> scores, std::span<const Candidate> kept) {
  std::vector<float> kept_scores;
  kept_scores.reserve(kept.size());
  for (const Candidate& candidate : kept) {
    kept_scores.push_back(scores[static_cast<std::size_t>(candidate.token)]);
  }
  std::fill(scores.begin(), scores.end(), kForbidden);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    scores[static_cast<std::size_t>(kept[i].token)] = kept_scores[i];
  }
}

}  // namespace foresight
