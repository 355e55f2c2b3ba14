#include "sample/readouts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.h"
#include "sample/draft_answers.h"
#include "sample/readout_parts.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

// Ranges of a row whose weights are summed as one, so that a draw walks sums and not tokens.
constexpr std::size_t kBlock = 2048;
// Confidence::top_mean.
constexpr std::size_t kTopMeanTokens = 20;

std::span<const float> block_at(std::span<const float> scores, std::size_t index) {
  const std::size_t begin = index * kBlock;
  return scores.subspan(begin, std::min(kBlock, scores.size() - begin));
}

void fill_confidence(const CpuContext& context, std::span<const float> scores, RowReadout& out) {
  const Softmax softmax = checked_softmax(context, scores);
  out.token = softmax.argmax;
  out.max_prob = static_cast<float>(softmax.probability(softmax.max));
  std::vector<Candidate> best = select_best(scores, 2);
  std::sort(best.begin(), best.end(), is_better);
  const double second = best.size() > 1 ? softmax.probability(best[1].key) : 0.0;
  out.margin = static_cast<float>(softmax.probability(softmax.max) - second);
  out.entropy = static_cast<float>(entropy_of(context, scores, softmax));
}

// As sample_token, over a list of all allowed tokens.
Token sample_of_few(std::span<const Candidate> allowed, const Softmax& softmax, double uniform) {
  const double target = uniform * softmax.sum;
  double cumulated = 0.0;
  Token token = softmax.argmax;
  for (const Candidate& candidate : allowed) {
    const double weight = std::exp(static_cast<double>(candidate.key) - softmax.max);
    if (weight == 0.0) continue;
    token = candidate.token;
    cumulated += weight;
    if (cumulated > target) break;
  }
  return token;
}

// How sure the row is of `token`, over the distribution without the deferred tokens.
double confidence_of(const CpuContext& context, const Ask& ask, const RowScores& scores,
                     Token token) {
  if (std::find(ask.deferred.begin(), ask.deferred.end(), token) != ask.deferred.end())
    return -std::numeric_limits<double>::infinity();
  std::span<const float> row = reads_raw(ask.confidence) ? scores.guided : scores.processed;
  std::vector<float> without;
  if (!ask.deferred.empty()) {
    without.assign(row.begin(), row.end());
    for (const Token deferred : ask.deferred)
      without[static_cast<std::size_t>(deferred)] = kForbidden;
    row = without;
  }
  const Softmax softmax = checked_softmax(context, row);
  switch (ask.confidence) {
    case Confidence::none:
      break;
    case Confidence::raw_probability:
    case Confidence::probability:
      return softmax.probability(row[static_cast<std::size_t>(token)]);
    case Confidence::margin: {
      std::vector<Candidate> best = select_best(row, 2);
      std::sort(best.begin(), best.end(), is_better);
      const double second = best.size() > 1 ? softmax.probability(best[1].key) : 0.0;
      return softmax.probability(softmax.max) - second;
    }
    case Confidence::entropy:
      return -entropy_of(context, row, softmax);
    case Confidence::top_mean: {
      std::vector<Candidate> best = select_best(row, kTopMeanTokens);
      std::sort(best.begin(), best.end(), is_better);
      double sum = 0.0;
      for (const Candidate& candidate : best) sum += double{candidate.key} - softmax.log_sum_exp();
      return -sum / static_cast<double>(best.size());
    }
  }
  return 0.0;
}

}  // namespace

double log_sum_exp(const CpuContext& context, std::span<const float> scores) {
  return checked_softmax(context, scores).log_sum_exp();
}

void combine_guidance(const CpuContext& context, std::span<float> conditional,
                      std::span<const float> unconditional, float scale) {
  FORESIGHT_CHECK(conditional.size() == unconditional.size(),
                  concat(conditional.size(), " and ", unconditional.size(), " scores"));
  const double norm = log_sum_exp(context, conditional);
  const double other_norm = log_sum_exp(context, unconditional);
  for (std::size_t i = 0; i < conditional.size(); ++i) {
    if (conditional[i] == kForbidden || unconditional[i] == kForbidden) {
      conditional[i] = kForbidden;
      continue;
    }
    const double other = unconditional[i] - other_norm;
    conditional[i] = static_cast<float>(other + scale * (conditional[i] - norm - other));
  }
}

Token sample_token(const CpuContext& context, std::span<const float> scores, double uniform) {
  if (const auto few = few_allowed(scores)) {
    return sample_of_few(*few, checked_softmax(context, scores), uniform);
  }
  const float max = best_of(context, scores).value;
  const std::size_t num_blocks = (scores.size() + kBlock - 1) / kBlock;
  std::array<float, kBlock> weights;
  std::vector<double> sums(num_blocks);
  double total = 0.0;
  for (std::size_t b = 0; b < num_blocks; ++b) {
    const auto block = block_at(scores, b);
    sums[b] = ops::exp_sum(context, block.data(), static_cast<std::int64_t>(block.size()), max);
    total += sums[b];
  }
  if (!std::isfinite(total)) throw_bad_row(scores);

  // The block that holds the target, then the token within it. Sums of a block and of its tokens
  // may round apart, and the target may round to the total: then it is the last token that has a
  // weight, so a forbidden one is never drawn.
  const double target = uniform * total;
  std::size_t chosen = 0;
  double before = 0.0;
  double cumulated = 0.0;
  for (std::size_t b = 0; b < num_blocks && cumulated <= target; ++b) {
    if (sums[b] == 0.0) continue;
    chosen = b;
    before = cumulated;
    cumulated += sums[b];
  }
  const auto block = block_at(scores, chosen);
  ops::exp_sum(context, block.data(), static_cast<std::int64_t>(block.size()), max, weights.data());
  std::size_t token = 0;
  for (std::size_t i = 0; i < block.size() && before <= target; ++i) {
    if (weights[i] == 0.0f) continue;
    token = i;
    before += static_cast<double>(weights[i]);
  }
  return static_cast<Token>(chosen * kBlock + token);
}

void answer_ask(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                const RowScores& scores, const RngKey& key, std::uint64_t position,
                RowReadout& out) {
  const std::span<const float> raw = scores.raw;
  const std::span<const float> processed = scores.processed;
  switch (ask.kind) {
    case AskKind::none:
    case AskKind::hidden:
      return;
    case AskKind::logits:
      out.logits.assign(raw.begin(), raw.end());
      return;
    case AskKind::top_k:
      if (ask.k <= 0)
        throw ValueError(
            concat("an ask for the best k tokens has k = ", ask.k, ", but k must be at least 1"));
      out.top = top_entries(context, processed, ask.k);
      return;
    case AskKind::prob_of: {
      if (ask.token < 0 || static_cast<std::size_t>(ask.token) >= raw.size()) {
        throw ValueError(
            concat("an ask names token id ", ask.token, ", but ids go from 0 to ", raw.size() - 1));
      }
      out.token = ask.token;
      const double total = log_sum_exp(context, raw);
      const ops::MaxEntry best = best_of(context, raw);
      const auto score = static_cast<double>(raw[static_cast<std::size_t>(ask.token)]);
      out.raw_logprob = static_cast<float>(score - total);
      out.is_argmax = best.index == ask.token;
      out.max_prob = static_cast<float>(std::exp(static_cast<double>(best.value) - total));
      return;
    }
    case AskKind::argmax:
      out.token = static_cast<Token>(best_of(context, processed).index);
      break;
    case AskKind::sample:
      out.token = options.do_sample
                      ? sample_token(context, processed, uniform(key, position, ask.draw))
                      : static_cast<Token>(best_of(context, processed).index);
      if (ask.confidence != Confidence::none)
        out.confidence = confidence_of(context, ask, scores, out.token);
      break;
    case AskKind::confidence:
      fill_confidence(context, processed, out);
      break;
    case AskKind::draft:
      answer_draft(context, ask, options, processed, key, position, out);
      return;
    case AskKind::verify:
      answer_verify(context, ask, options, processed, key, position, out);
      break;
  }
  fill_emitted(context, options, raw, processed, out);
}

}  // namespace foresight
