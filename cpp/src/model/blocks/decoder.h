// A stack of decoder layers over packed weights on the CPU: the one body of all families.
// Activations are float32 throughout; weights and K/V have the storage type.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/blocks/decoder_weights.h"
#include "model/blocks/step_rows.h"
#include "model/kv_storage.h"
#include "model/port.h"

namespace foresight {

class Decoder final : public ModelPort {
 public:
  // Packs all weights; `context` must outlive the decoder. Throws ValueError naming the tensor.
  Decoder(const CpuContext& context, const ModelConfig& config, const Weights& weights,
          const DecoderTraits& traits, DType storage);
  // The first `num_layers` layers of `weights`; `context` must outlive the decoder.
  Decoder(const CpuContext& context, std::shared_ptr<const DecoderWeights> weights,
          std::int64_t num_layers);

  const ModelConfig& config() const override { return config_; }
  std::size_t page_bytes() const override { return kv_.page_bytes(); }
  std::int64_t page_slots() const override { return ops::kPageSlots; }
  void allocate_pages(std::int64_t num_pages) override { kv_.allocate(num_pages); }
  void copy_slots(std::span<const SlotCopy> copies) override { kv_.copy(copies); }
  ForwardResult forward(const ForwardBatch& batch) override;
  std::size_t packed_bytes() const override { return weights_->packed_bytes(config_.num_layers); }
  std::unique_ptr<ModelPort> share(const CpuContext& context,
                                   std::int64_t num_layers) const override;
  TokenMatrices token_matrices() const override;

 private:
  using Layer = DecoderWeights::Layer;

  // x [rows, hidden] += the embedding of each row's position. Throws ValueError beyond the table.
  void add_positions(const ForwardBatch& batch, float* x) const;
  void run_layer(std::int64_t index, std::int64_t num_rows);
  void run_mlp(const Layer& layer, const float* x, std::int64_t num_rows, float* out,
               bool accumulate);
  // out [rows, hidden] = norm of x; row strides hidden.
  void normalize(const float* x, std::int64_t num_rows, const std::vector<float>& weight,
                 float* out) const;
  // Adds norm(y) to x (post norms), row by row.
  void add_normalized(float* x, float* y, std::int64_t num_rows,
                      const std::vector<float>& weight) const;
  void tap_hidden(const ForwardBatch& batch, std::int64_t layer);

  CpuContext context_;
  std::shared_ptr<const DecoderWeights> weights_;
  ModelConfig config_;
  StepRows rows_;
  KvStorage kv_;

  // Per-step state, reused.
  Scratch x_;                  // [T, hidden] residual stream
  Scratch normed_;             // [T, hidden]
  Scratch branch_;             // [T, hidden] output of a block before its post norm
  Scratch asked_;              // [logit rows, hidden]
  Scratch logits_;             // [logit rows, vocab]
  std::vector<float> hidden_;  // [hidden rows, hidden layers, hidden]
  AttentionWorkspace attention_workspace_;
  MlpWorkspace mlp_workspace_;
  MoeWorkspace moe_workspace_;
  ops::MatmulScratch head_scratch_;
};

}  // namespace foresight
