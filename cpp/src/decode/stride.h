// How many tokens a round of strided decoding should try for: the running acceptance of the
// sequence's drafts against what rows cost.
#pragma once

#include <cstdint>

namespace foresight {

inline constexpr std::int64_t kMaxStride = 8;

// What a round costs and gives. A forward of n rows costs 1 + row_cost * (n - 1) forwards of one.
struct StrideCost {
  bool exact = true;  // a group of masks behind every prefix of the drafts
  double row_cost = 0.0;
};

// Tokens per cost of a forward of one row when each draft is accepted with this probability, given
// that those before it were. Stride 1 is plain decoding: 1.
double stride_speed(std::int64_t stride, double acceptance, const StrideCost& cost);

// The fastest stride; at most 4 unless the acceptance is at least 0.9.
std::int64_t best_stride(double acceptance, const StrideCost& cost);

// The acceptance of the last drafts that were tested, about 16 of them, with a new try from time
// to time where drafts do not pay.
class RunningAcceptance {
 public:
  double value() const { return value_; }
  void note_tested(std::int64_t accepted, bool rejected);
  // A token came without a draft because the best stride was 1.
  void note_plain();

 private:
  // Drafts pay at this acceptance: it is tried before anything is known, and again later.
  static constexpr double kPrior = 0.7;
  static constexpr double kWeight = 1.0 / 16.0;
  static constexpr std::int64_t kPlainTokens = 64;

  double value_ = kPrior;
  std::int64_t plain_tokens_ = 0;
};

}  // namespace foresight
