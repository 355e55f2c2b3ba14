// sequence_bias and bad_words_ids: a sequence of tokens changes the score of its last token
// wherever the tokens so far end in all its others. A bad word is a sequence with a bias of
// -infinity.
#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

using Sequence = std::vector<Token>;

bool ends_in(std::span<const Token> tokens, std::span<const Token> suffix) {
  return suffix.size() <= tokens.size() &&
         std::equal(suffix.begin(), suffix.end(),
                    tokens.end() - static_cast<std::ptrdiff_t>(suffix.size()));
}

class SequenceBias final : public LogitsProcessor {
 public:
  explicit SequenceBias(const std::map<Sequence, float>& biases) {
    std::map<Token, std::vector<Rule>> by_last;
    for (const auto& [sequence, bias] : biases) {
      by_last[sequence.back()].push_back({Sequence(sequence.begin(), sequence.end() - 1), bias});
    }
    for (auto& [last, rules] : by_last) {
      // Shortest first: biases of one token are added in this order before they meet the score.
      std::stable_sort(rules.begin(), rules.end(), [](const Rule& a, const Rule& b) {
        return a.prefix.size() < b.prefix.size();
      });
      targets_.push_back({last, std::move(rules)});
    }
  }

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    for (const Target& target : targets_) {
      float sum = 0.0f;
      for (const Rule& rule : target.rules) {
        if (ends_in(context.tokens, rule.prefix)) sum += rule.bias;
      }
      scores[static_cast<std::size_t>(target.token)] += sum;
    }
  }

 private:
  struct Rule {
    Sequence prefix;
    float bias;
  };
  struct Target {
    Token token;
    std::vector<Rule> rules;
  };
  std::vector<Target> targets_;
};

void check_sequence(std::string_view field, const Sequence& sequence, std::int64_t vocab_size) {
  if (sequence.empty()) {
    throw ValueError(
        concat(field, " holds an empty sequence, but each must hold at least one token id"));
  }
  check_tokens(field, sequence, vocab_size);
}

}  // namespace

Processor make_sequence_bias(const SamplingParams& params, std::int64_t vocab_size) {
  std::map<Sequence, float> biases;
  for (const auto& [sequence, bias] : params.sequence_bias) {
    check_sequence("sequence_bias", sequence, vocab_size);
    check_range(!std::isnan(bias), "sequence_bias", bias, "a number");
    biases[sequence] = bias;
  }
  return std::make_shared<SequenceBias>(biases);
}

Processor make_bad_words(const SamplingParams& params, std::int64_t vocab_size) {
  const auto& eos = params.eos_token_ids;
  std::map<Sequence, float> biases;
  for (const Sequence& word : params.bad_words_ids) {
    check_sequence("bad_words_ids", word, vocab_size);
    // The end of a sequence alone is not a word.
    const bool ends = word.size() == 1 && std::find(eos.begin(), eos.end(), word[0]) != eos.end();
    if (!ends) biases[word] = kForbidden;
  }
  if (biases.empty()) {
    throw ValueError(
        "bad_words_ids holds nothing but end-of-sequence tokens, which it never forbids; "
        "use suppress_tokens or min_new_tokens to forbid those");
  }
  return std::make_shared<SequenceBias>(biases);
}

}  // namespace foresight
