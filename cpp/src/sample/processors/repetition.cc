// Repetition penalties (Keskar et al., "CTRL", 2019): a score moves away from (or, for the encoder
// variant, towards) the top by a factor, whatever its sign.
#include <algorithm>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

enum class Scope { all_tokens, prompt };

class RepetitionPenalty final : public LogitsProcessor {
 public:
  RepetitionPenalty(Scope scope, double penalty)
      : scope_(scope), penalty_(static_cast<float>(penalty)) {}

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    const auto in_scope =
        scope_ == Scope::all_tokens
            ? context.tokens
            : context.tokens.first(static_cast<std::size_t>(context.prompt_length));
    // A token is penalised once, however often it occurred.
    std::vector<Token> seen(in_scope.begin(), in_scope.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (const Token token : seen) {
      if (!has_score(token, scores)) continue;
      float& score = scores[static_cast<std::size_t>(token)];
      score = score < 0.0f ? score * penalty_ : score / penalty_;
    }
  }

 private:
  Scope scope_;
  float penalty_;
};

}  // namespace

Processor make_encoder_repetition_penalty(double penalty) {
  check_range(penalty > 0.0, "encoder_repetition_penalty", penalty, "a number above 0");
  return std::make_shared<RepetitionPenalty>(Scope::prompt, 1.0 / penalty);
}

Processor make_repetition_penalty(double penalty) {
  check_range(penalty > 0.0, "repetition_penalty", penalty, "a number above 0");
  return std::make_shared<RepetitionPenalty>(Scope::all_tokens, penalty);
}

}  // namespace foresight
