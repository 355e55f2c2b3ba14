// Multi-token prediction (DeepSeek-AI, arXiv 2412.19437): a projection of the normed embedding and
// the normed hidden state of the target, a decoder layer, and a norm. One such layer, applied to
// what it gave before, makes as many guesses as are wanted.
#include <algorithm>
#include <utility>

#include "model/heads/draft_network.h"

namespace foresight {

namespace {

class Mtp final : public DraftNetwork {
 public:
  Mtp(const CpuContext& context, std::shared_ptr<const HeadWeights> weights)
      : DraftNetwork(context, std::move(weights)) {}

  void project(const float* states, std::int64_t num_rows, float* features) override {
    std::copy_n(states, num_rows * config().hidden_size, features);
  }

  ForwardResult forward(const ForwardBatch& batch) override {
    const std::int64_t hidden = config().hidden_size;
    const std::int64_t count = std::ssize(batch.tokens);
    const auto [pairs, x] = begin_pairs(batch);
    apply_fc(pairs, count, x);
    run_layers(0, x);
    normalize(x, hidden, count, weights_->final_norm, x, hidden);
    return answer(batch, x, x);
  }
};

}  // namespace

std::unique_ptr<DraftNetwork> make_mtp(const CpuContext& context,
                                       std::shared_ptr<const HeadWeights> weights) {
  return std::make_unique<Mtp>(context, std::move(weights));
}

}  // namespace foresight
