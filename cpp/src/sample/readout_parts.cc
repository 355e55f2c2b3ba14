#include "sample/readout_parts.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace foresight {

namespace {

float logprob_of(const CpuContext& context, std::span<const float> scores, Token token) {
  const auto score = static_cast<double>(scores[static_cast<std::size_t>(token)]);
  return static_cast<float>(score - log_sum_exp(context, scores));
}

}  // namespace

void throw_bad_row(std::span<const float> scores) {
  const bool has_nan =
      std::any_of(scores.begin(), scores.end(), [](float s) { return std::isnan(s); });
  const bool has_inf =
      std::any_of(scores.begin(), scores.end(), [](float s) { return s == -kForbidden; });
  if (has_nan || has_inf) {
    throw ValueError(
        concat("a row of scores holds ", has_nan ? "NaN" : "+infinity",
               ", but a token needs finite scores (or -infinity for a forbidden token); "
               "check the weights, or set remove_invalid_values=True"));
  }
  throw ValueError(
      "every token of a row is forbidden (all scores are -infinity), but at least one must be "
      "allowed; check suppress_tokens, bad_words_ids, no_repeat_ngram_size and your own "
      "processors");
}

ops::MaxEntry best_of(const CpuContext& context, std::span<const float> scores) {
  const ops::MaxEntry best =
      ops::argmax(context, scores.data(), static_cast<std::int64_t>(scores.size()));
  if (!std::isfinite(best.value)) throw_bad_row(scores);
  return best;
}

Softmax checked_softmax(const CpuContext& context, std::span<const float> scores) {
  const auto softmax = softmax_of(context, scores);
  if (!softmax) throw_bad_row(scores);
  return *softmax;
}

std::vector<float> distribution_of(const CpuContext& context, std::span<const float> scores,
                                   const Softmax& softmax) {
  std::vector<float> weights(scores.size());
  const double sum = ops::exp_sum(context, scores.data(), static_cast<std::int64_t>(scores.size()),
                                  softmax.max, weights.data());
  change_each(weights, [scale = static_cast<float>(1.0 / sum)](float w) { return w * scale; });
  return weights;
}

std::vector<TopEntry> top_entries(const CpuContext& context, std::span<const float> scores,
                                  std::int32_t count) {
  const double log_sum_exp = checked_softmax(context, scores).log_sum_exp();
  std::vector<Candidate> best = select_best(scores, static_cast<std::size_t>(count));
  std::sort(best.begin(), best.end(), is_better);
  std::vector<TopEntry> entries;
  entries.reserve(best.size());
  for (const Candidate& candidate : best) {
    entries.push_back({candidate.token, static_cast<float>(candidate.key - log_sum_exp)});
  }
  return entries;
}

void fill_emitted(const CpuContext& context, const ReadoutOptions& options,
                  std::span<const float> raw, std::span<const float> processed, RowReadout& out) {
  if (options.logprobs) {
    out.logprob = logprob_of(context, processed, out.token);
    out.raw_logprob = logprob_of(context, raw, out.token);
  }
  if (options.top_logprobs > 0) out.top = top_entries(context, processed, options.top_logprobs);
}

}  // namespace foresight
