// What depends on how long the sequence is: min_length, min_new_tokens and
// exponential_decay_length_penalty, all of which act on the end-of-sequence tokens.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

enum class Count { all_tokens, new_tokens };

class MinTokens final : public LogitsProcessor {
 public:
  MinTokens(Count count, std::int32_t minimum, std::span<const Token> eos)
      : count_(count), minimum_(minimum), eos_(eos.begin(), eos.end()) {}

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    const auto length = static_cast<std::int64_t>(context.tokens.size());
    const std::int64_t skipped = count_ == Count::new_tokens ? context.prompt_length : 0;
    if (length - skipped < minimum_) forbid(eos_, scores);
  }

 private:
  Count count_;
  std::int32_t minimum_;
  std::vector<Token> eos_;
};

// From `start` new tokens on, an end token's score rises by |score| (factor^n - 1) after n more.
class ExponentialDecay final : public LogitsProcessor {
 public:
  ExponentialDecay(std::int32_t start, double factor, std::vector<Token> eos)
      : start_(start), factor_(factor), eos_(std::move(eos)) {
    std::sort(eos_.begin(), eos_.end());
    eos_.erase(std::unique(eos_.begin(), eos_.end()), eos_.end());
  }

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    const auto length = static_cast<std::int64_t>(context.tokens.size());
    const std::int64_t beyond = length - context.prompt_length - start_;
    if (beyond <= 0) return;
    // Bounded, so that a long sequence ends for sure instead of meeting inf or inf * 0.
    constexpr double kHighest = std::numeric_limits<float>::max();
    const double growth = std::min(std::pow(factor_, static_cast<double>(beyond)) - 1.0, kHighest);
    for (const Token token : eos_) {
      float& score = scores[static_cast<std::size_t>(token)];
      if (!std::isfinite(score)) continue;
      const float penalty = std::fabs(score) * static_cast<float>(growth);
      score = std::min(score + penalty, std::numeric_limits<float>::max());
    }
  }

 private:
  std::int32_t start_;
  double factor_;
  std::vector<Token> eos_;
};

}  // namespace

Processor make_min_length(std::int32_t min_length, std::span<const Token> eos_token_ids) {
  check_range(min_length >= 0, "min_length", min_length, "an integer of at least 0");
  return std::make_shared<MinTokens>(Count::all_tokens, min_length, eos_token_ids);
}

Processor make_min_new_tokens(std::int32_t min_new_tokens, std::span<const Token> eos_token_ids) {
  check_range(min_new_tokens >= 0, "min_new_tokens", min_new_tokens, "an integer of at least 0");
  return std::make_shared<MinTokens>(Count::new_tokens, min_new_tokens, eos_token_ids);
}

Processor make_exponential_decay(const SamplingParams& params, std::int64_t vocab_size) {
  constexpr const char* kField = "exponential_decay_length_penalty";
  const auto [start, factor] = *params.exponential_decay_length_penalty;
  check_range(factor > 0.0 && std::isfinite(factor),
              "the factor of exponential_decay_length_penalty", factor, "a finite number above 0");
  if (params.eos_token_ids.empty()) {
    throw ValueError(
        concat(kField, " needs an end-of-sequence token, but eos_token_id is not set"));
  }
  check_tokens("eos_token_id (for exponential_decay_length_penalty)", params.eos_token_ids,
               vocab_size);
  return std::make_shared<ExponentialDecay>(start, factor, params.eos_token_ids);
}

}  // namespace foresight
