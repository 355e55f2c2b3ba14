// forced_bos_token_id and forced_eos_token_id: at one length, only some tokens are possible.
#include <algorithm>
#include <utility>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

class ForcedTokens final : public LogitsProcessor {
 public:
  ForcedTokens(std::int64_t length, std::vector<Token> tokens)
      : length_(length), tokens_(std::move(tokens)) {}

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    if (static_cast<std::int64_t>(context.tokens.size()) != length_) return;
    std::fill(scores.begin(), scores.end(), kForbidden);
    for (const Token token : tokens_) scores[static_cast<std::size_t>(token)] = 0.0f;
  }

 private:
  std::int64_t length_;  // of the sequence before the forced token
  std::vector<Token> tokens_;
};

}  // namespace

Processor make_forced_bos(Token token, std::int64_t vocab_size) {
  check_token("forced_bos_token_id", token, vocab_size);
  return std::make_shared<ForcedTokens>(1, std::vector<Token>{token});
}

Processor make_forced_eos(const SamplingParams& params, std::int64_t vocab_size) {
  check_tokens("forced_eos_token_id", params.forced_eos_token_id, vocab_size);
  const std::int64_t last = static_cast<std::int64_t>(params.max_length) - 1;
  return std::make_shared<ForcedTokens>(last, params.forced_eos_token_id);
}

}  // namespace foresight
