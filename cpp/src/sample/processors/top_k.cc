// Top-k sampling (Fan et al., "Hierarchical neural story generation", 2018): every score at least
// as high as the k-th highest stays, ties included.
#include <algorithm>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

class TopK final : public LogitsProcessor {
 public:
  explicit TopK(std::int32_t top_k) : top_k_(static_cast<std::size_t>(top_k)) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    if (top_k_ >= scores.size()) return;
    const std::vector<Candidate> best = select_best(scores, top_k_);
    if (best.size() < top_k_) return;  // all others are forbidden already
    const auto worst = std::max_element(best.begin(), best.end(), is_better);
    forbid_below(scores, worst->key);
  }

 private:
  std::size_t top_k_;
};

}  // namespace

Processor make_top_k(std::int32_t top_k) {
  check_range(top_k > 0, "top_k", top_k, "an integer of at least 0 (0: off)");
  return std::make_shared<TopK>(top_k);
}

}  // namespace foresight
