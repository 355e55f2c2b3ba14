// How many catch-up rows (prefill) a step may take so that it lasts about 100 ms: signals, other
// threads and decoding branches wait no longer than that. The chunk size never changes a result.
#pragma once

#include <algorithm>
#include <cstdint>

namespace foresight {

class ChunkBudget {
 public:
  static constexpr double kTargetSeconds = 0.1;
  // Below this many rows a forward is bound by reading the weights, so fewer rows save no time.
  static constexpr std::int64_t kMinRows = 32;
  static constexpr std::int64_t kMaxRows = 2048;

  // Catch-up rows beside `num_decoding` rows of decoding branches. However many decode, prompts go
  // on being read: a batch must be able to fill up.
  std::int64_t rows_beside(std::int64_t num_decoding) const {
    if (fixed_ > 0) return fixed_;
    return std::max(rows_ - num_decoding, kMinRows);
  }

  // Learns from a forward of `num_rows` rows that took `seconds`.
  void observe(std::int64_t num_rows, double seconds) {
    if (num_rows < kMinRows / 2 || seconds <= 0.0) return;
    const double fitting = kTargetSeconds * static_cast<double>(num_rows) / seconds;
    // At most doubling: one forward says little about much larger ones.
    const double next = std::min(fitting, 2.0 * static_cast<double>(std::max(rows_, num_rows)));
    rows_ = std::clamp(static_cast<std::int64_t>(next), kMinRows, kMaxRows);
  }
  // A fixed number of rows instead (tests); 0: learn again.
  void fix(std::int64_t num_rows) { fixed_ = num_rows; }

 private:
  std::int64_t rows_ = 2 * kMinRows;
  std::int64_t fixed_ = 0;
};

}  // namespace foresight
