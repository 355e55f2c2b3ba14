// No n-gram twice: the next token may not complete an n-gram that occurred before, among all tokens
// so far or, for the encoder variant, in the prompt.
#include <algorithm>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

enum class Scope { all_tokens, prompt };

class NoRepeatNgram final : public LogitsProcessor {
 public:
  NoRepeatNgram(Scope scope, std::int32_t ngram_size)
      : scope_(scope), prefix_size_(static_cast<std::size_t>(ngram_size) - 1) {}

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    if (context.tokens.size() < prefix_size_) return;
    const auto prefix = context.tokens.last(prefix_size_);
    const auto text = scope_ == Scope::all_tokens
                          ? context.tokens
                          : context.tokens.first(static_cast<std::size_t>(context.prompt_length));
    for (std::size_t last = prefix_size_; last < text.size(); ++last) {
      const auto window = text.subspan(last - prefix_size_, prefix_size_);
      if (std::equal(prefix.begin(), prefix.end(), window.begin())) {
        forbid(text.subspan(last, 1), scores);
      }
    }
  }

 private:
  Scope scope_;
  std::size_t prefix_size_;  // all of an n-gram but its last token
};

}  // namespace

Processor make_no_repeat_ngram(std::int32_t ngram_size) {
  check_range(ngram_size > 0, "no_repeat_ngram_size", ngram_size, "an integer of at least 0");
  return std::make_shared<NoRepeatNgram>(Scope::all_tokens, ngram_size);
}

Processor make_encoder_no_repeat_ngram(std::int32_t ngram_size) {
  check_range(ngram_size > 0, "encoder_no_repeat_ngram_size", ngram_size,
              "an integer of at least 0");
  return std::make_shared<NoRepeatNgram>(Scope::prompt, ngram_size);
}

}  // namespace foresight
