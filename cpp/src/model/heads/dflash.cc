// DFlash (arXiv 2602.06036) and DSpark's backbone (arXiv 2607.05147): every layer sees K and V of
// the context, computed from the same features, and of a block of masks behind the last token,
// which it fills in one forward.
#include <numeric>
#include <utility>

#include "model/heads/draft_network.h"

namespace foresight {

namespace {

class DFlash final : public DraftNetwork {
 public:
  DFlash(const CpuContext& context, std::shared_ptr<const HeadWeights> weights)
      : DraftNetwork(context, std::move(weights)), causal_rows_(config()) {}

  void project(const float* states, std::int64_t num_rows, float* features) override {
    const std::int64_t hidden = config().hidden_size;
    apply_fc(states, num_rows, features);
    normalize(features, hidden, num_rows, weights_->feature_norm, features, hidden);
  }

  ForwardResult forward(const ForwardBatch& batch) override {
    if (batch.features != nullptr) {
      rows_.prepare(batch);
      for (std::int64_t i = 0; i < config().num_layers; ++i) {
        const auto layer = static_cast<std::size_t>(i);
        weights_->layers[layer].attention.write(context_,
                                                rows_.step(config().layer_is_sliding[layer]),
                                                kv_.layer(i), batch.features, attention_workspace_);
      }
      return {};
    }
    prepare_blocks(batch);
    const std::int64_t hidden = config().hidden_size;
    const std::int64_t count = std::ssize(batch.tokens);
    float* x = x_.reserve<float>(static_cast<std::size_t>(count * hidden));
    embed(batch, x);
    for (std::int64_t i = 0; i < config().num_layers; ++i) {
      const auto layer = static_cast<std::size_t>(i);
      const StepRows& rows = head().causal[layer] ? causal_rows_ : rows_;
      run_layer(i, rows.step(config().layer_is_sliding[layer]), x);
    }
    normalize(x, hidden, count, weights_->final_norm, x, hidden);
    return answer(batch, x, x);
  }

 private:
  void prepare_blocks(const ForwardBatch& batch) {
    full_ = batch;
    full_.ranks.assign(batch.tokens.size(), 0);
    full_.limits.assign(batch.tokens.size(), 0);
    rows_.prepare(full_);
    causal_ = batch;
    std::iota(causal_.ranks.begin(), causal_.ranks.end(), 0);
    causal_.limits = causal_.ranks;
    causal_rows_.prepare(causal_);
  }

  StepRows causal_rows_;
  ForwardBatch full_;
  ForwardBatch causal_;
};

}  // namespace

std::unique_ptr<DraftNetwork> make_dflash(const CpuContext& context,
                                          std::shared_ptr<const HeadWeights> weights) {
  return std::make_unique<DFlash>(context, std::move(weights));
}

}  // namespace foresight
