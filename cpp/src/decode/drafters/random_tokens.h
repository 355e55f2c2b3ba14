// Draws guesses from the whole vocabulary, each token alike: for benchmarks of what speculation
// costs the engine, with a given acceptance (Verification::synthetic) or as the worst drafter.
#pragma once

#include <cstdint>

#include "decode/drafter.h"

namespace foresight {

class RandomTokens final : public Drafter {
 public:
  explicit RandomTokens(std::int64_t vocab_size) : vocab_size_(vocab_size) {}
  void propose(std::span<DraftTask> tasks) override;

 private:
  std::int64_t vocab_size_;
};

}  // namespace foresight
