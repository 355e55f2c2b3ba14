// EAGLE-3 (Li et al., arXiv 2503.01840): the first layer attends over pairs of a normed embedding
// and a normed feature, and adds to the feature; what comes out is the next row's feature.
#include <algorithm>
#include <utility>

#include "model/heads/draft_network.h"

namespace foresight {

namespace {

class Eagle3 final : public DraftNetwork {
 public:
  Eagle3(const CpuContext& context, std::shared_ptr<const HeadWeights> weights)
      : DraftNetwork(context, std::move(weights)) {}

  void project(const float* states, std::int64_t num_rows, float* features) override {
    if (head().norm_before_fc) {
      const std::int64_t size = weights_->fc.num_inputs();
      float* normed = states_.reserve<float>(static_cast<std::size_t>(num_rows * size));
      normalize(states, size, num_rows, weights_->input_norm, normed, size);
      states = normed;
    }
    apply_fc(states, num_rows, features);
  }

  ForwardResult forward(const ForwardBatch& batch) override {
    const std::int64_t hidden = config().hidden_size;
    const std::int64_t count = std::ssize(batch.tokens);
    const auto [pairs, x] = begin_pairs(batch);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* from =
          head().norm_before_residual ? pairs + (2 * i + 1) * hidden : batch.features + i * hidden;
      std::copy_n(from, hidden, x + i * hidden);
    }
    attend(0, rows_.step(config().layer_is_sliding[0]), pairs, x);
    run_mlp(0, count, x);
    run_layers(1, x);
    float* normed = final_.reserve<float>(static_cast<std::size_t>(count * hidden));
    normalize(x, hidden, count, weights_->final_norm, normed, hidden);
    return answer(batch, normed, x);
  }

 private:
  Scratch states_;  // [rows, target layers, target hidden]
  Scratch final_;   // [T, hidden]
};

}  // namespace

std::unique_ptr<DraftNetwork> make_eagle3(const CpuContext& context,
                                          std::shared_ptr<const HeadWeights> weights) {
  return std::make_unique<Eagle3>(context, std::move(weights));
}

}  // namespace foresight
