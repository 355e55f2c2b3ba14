// How many guesses a sequence should have tested: the running acceptance of its own against what
// rows cost.
#pragma once

#include <cstdint>
#include <vector>

#include "rows/rows.h"

namespace foresight {

// What a step costs, in forwards of the target with one row.
class DraftCost {
 public:
  // forward[i]: time of a forward of i + 1 rows, in any unit; longer ones are extrapolated from the
  // last two. per_token: of a guess; per_round: of any number of guesses.
  DraftCost(std::vector<std::int64_t> forward, double per_token, double per_round);

  // Of a step of `num_decoding` sequences with `num_drafts` guesses each, over that of one without.
  double of(std::int64_t num_drafts, std::int64_t num_decoding) const;

 private:
  double forward(std::int64_t rows) const;

  std::vector<std::int64_t> forward_;
  double per_token_;
  double per_round_;
};

// What a sequence remembers of its guesses; a small value that is copied with the branch.
class DraftLength {
 public:
  // At most `most` guesses; none where plain decoding is as fast. pace: why.
  std::int64_t choose(std::int64_t most, const DraftCost& cost, std::int64_t num_decoding,
                      DraftPace* pace = nullptr) const;

  // After a step: how many guesses of a row were tested and how many of them accepted.
  void note_tested(std::int64_t drafted, std::int64_t accepted);
  // A token came without guesses because choose() wanted none.
  void note_plain() { ++plain_tokens_; }

  double acceptance() const { return acceptance_; }

 private:
  bool tries_again() const { return plain_tokens_ >= patience_; }

  // Guesses pay at this acceptance, so that they are tried before anything is known. It counts as
  // two tests; later each test weighs at least kWeight.
  static constexpr double kPrior = 0.7;
  static constexpr double kWeight = 1.0 / 16.0;
  // Tokens until one guess is tried again where they do not pay; doubled by each try that fails.
  static constexpr std::int64_t kLeastPatience = 16;
  static constexpr std::int64_t kMostPatience = 1024;

  double acceptance_ = kPrior;
  std::int64_t tests_ = 2;
  std::int64_t plain_tokens_ = 0;
  std::int64_t patience_ = kLeastPatience;
};

}  // namespace foresight
