// Guesses by looking up how the last few tokens went on before (Saxena, "Prompt lookup decoding",
// 2023): no model, no weights.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "decode/drafter.h"

namespace foresight {

class NgramIndex;

// The longest n-gram, max_ngram down to min_ngram tokens, that ends a branch's tokens and occurs
// earlier in them decides; what followed that occurrence is proposed, as a chain whatever the
// shape. Of several occurrences it is the one with the longest continuation, up to the wanted
// tokens, and of those the latest: text repeats what is near rather than what is far. (transformers
// takes the first one from the left.) A continuation ends where the tokens end.
//
// Each branch has an index of its n-grams, brought up to date from the first token that differs
// from those indexed: 4 bytes per token, and about 12 more for each n. Thread safe.
class PromptLookup final : public Drafter {
 public:
  static constexpr std::int64_t kMaxNgram = 32;

  // Throws ValueError unless 1 <= min_ngram <= max_ngram <= kMaxNgram.
  PromptLookup(std::int64_t max_ngram, std::int64_t min_ngram);
  ~PromptLookup() override;

  void propose(std::span<DraftTask> tasks) override;
  void forget(std::uint64_t branch) override;

 private:
  const std::int64_t max_ngram_;
  const std::int64_t min_ngram_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::unique_ptr<NgramIndex>> indices_;
};

}  // namespace foresight
