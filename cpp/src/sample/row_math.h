// Arithmetic over one row of scores, shared by processors and readouts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "ops/readout.h"
#include "rows/rows.h"

namespace foresight {

inline constexpr float kForbidden = -std::numeric_limits<float>::infinity();
// How far a score is held from a threshold in log-probability before it decides by itself: far more
// than what float32 and the kernels' exp lose.
inline constexpr double kLogSlack = 1e-3;

// A row's softmax, kept as its constants: probability(i) = exp(scores[i] - max) / sum.
struct Softmax {
  float max = 0.0f;  // the highest score
  Token argmax = 0;  // the lowest token that has it
  double sum = 0.0;  // of exp(score - max) over the row: at least 1

  double log_sum_exp() const;
  double probability(float score) const;
};

// Nothing when the row has no softmax: no finite score, or a NaN or +infinity among them.
std::optional<Softmax> softmax_of(const CpuContext& context, std::span<const float> scores);

// Of the softmax, in nats.
double entropy_of(const CpuContext& context, std::span<const float> scores, const Softmax& softmax);

// scores[i] = change(scores[i]). The inner loop has a constant length, which compilers vectorise.
template <typename Change>
void change_each(std::span<float> scores, Change change) {
  constexpr std::size_t kLength = 16;
  std::size_t i = 0;
  for (; i + kLength <= scores.size(); i += kLength) {
    float* part = scores.data() + i;
    for (std::size_t j = 0; j < kLength; ++j) part[j] = change(part[j]);
  }
  for (; i < scores.size(); ++i) scores[i] = change(scores[i]);
}

// Forbids (sets to -infinity) every score below the threshold; NaN stays.
void forbid_below(std::span<float> scores, float threshold);

// A token with what it is ordered by: its score, unless said otherwise.
struct Candidate {
  float key = 0.0f;
  Token token = 0;
};

// By score, highest first, then by token, lowest first.
inline bool is_better(const Candidate& a, const Candidate& b) {
  return a.key != b.key ? a.key > b.key : a.token < b.token;
}

// Tokens whose score is at least the threshold (rounded down to float32), in ascending order of
// token. Never NaN or -infinity.
std::vector<Candidate> collect_from(std::span<const float> scores, double threshold);

// The `count` best tokens (see is_better) above -infinity, in no order; fewer when there are fewer.
std::vector<Candidate> select_best(std::span<const float> scores, std::size_t count);

// Every token that is not forbidden, in ascending order, NaN included, when they are few (as after
// top_k); nothing when they are many. Sums over so few skip the rest of the vocabulary.
std::optional<std::vector<Candidate>> few_allowed(std::span<const float> scores);

// Forbids every token that is not among `kept`.
void forbid_all_but(std::span<float> scores, std::span<const Candidate> kept);

// Moves to the front the candidates, in the order of `less`, that are kept: each whose
// predecessors' weights add up to a mass that is not yet `enough`, and the first in any case.
// Returns how many; the last of them lies at the end of the kept ones, which are otherwise in no
// order. `enough` must not turn back to false as the mass grows. A quickselect by weight: linear,
// whatever is kept.
template <typename Less, typename Weight, typename Enough>
std::size_t keep_mass(std::span<Candidate> candidates, Less less, Weight weight, Enough enough) {
  const auto at = [&](std::size_t i) {
    return candidates.begin() + static_cast<std::ptrdiff_t>(i);
  };
  // candidates[0, low) are kept, with weight `mass`, and candidates[low] in order is; from high on
  // none are.
  std::size_t low = 0;
  std::size_t high = candidates.size();
  double mass = 0.0;
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    std::nth_element(at(low), at(middle), at(high), less);
    double more = mass;
    for (std::size_t i = low; i < middle; ++i) more += weight(candidates[i]);
    if (enough(more)) {
      high = middle;
    } else {
      low = middle;
      mass = more;
    }
  }
  return high;
}

}  // namespace foresight
