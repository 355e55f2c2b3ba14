// suppress_tokens: never; begin_suppress_tokens: not as the first new token.
#include <utility>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

class SuppressTokens final : public LogitsProcessor {
 public:
  explicit SuppressTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  void apply(const ScoreContext&, std::span<float> scores) const override {
    forbid(tokens_, scores);
  }

 private:
  std::vector<Token> tokens_;
};

class BeginSuppressTokens final : public LogitsProcessor {
 public:
  BeginSuppressTokens(std::vector<Token> tokens, bool bos_is_forced)
      : tokens_(std::move(tokens)), bos_is_forced_(bos_is_forced) {}

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    // After a prompt of one token the first new one may be forced, and the begin is the second.
    const bool one_later = bos_is_forced_ && context.prompt_length <= 1;
    const std::int64_t begin = context.prompt_length + (one_later ? 1 : 0);
    if (static_cast<std::int64_t>(context.tokens.size()) == begin) forbid(tokens_, scores);
  }

 private:
  std::vector<Token> tokens_;
  bool bos_is_forced_;
};

}  // namespace

Processor make_suppress_tokens(const SamplingParams& params, std::int64_t vocab_size) {
  check_tokens("suppress_tokens", params.suppress_tokens, vocab_size);
  return std::make_shared<SuppressTokens>(params.suppress_tokens);
}

Processor make_begin_suppress_tokens(const SamplingParams& params, std::int64_t vocab_size) {
  check_tokens("begin_suppress_tokens", params.begin_suppress_tokens, vocab_size);
  return std::make_shared<BeginSuppressTokens>(params.begin_suppress_tokens,
                                               params.forced_bos_token_id.has_value());
}

}  // namespace foresight
