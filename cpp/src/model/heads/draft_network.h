// A draft head at work: its weights, which it may share, and K/V and activations of its own.
//
// A row stands for a position of the sequence. What is cached of a row depends on the target's
// hidden states there, which project() turns into a feature of the head's own size.
//   eagle3, mtp: a row holds the feature of its position and the token behind it, and guesses the
//     token behind that one. Guesses go on with ForwardResult::hidden, [hidden_rows, hidden_size],
//     in place of a feature.
//   dflash: a batch with features is context, whose K/V are all that is computed; a batch without
//     is blocks of tokens and masks, which see the context and each other. ForwardResult::hidden
//     is what the logits are computed from.
// Forwards do not look at ForwardBatch::hidden_layers and adapter.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/blocks/step_rows.h"
#include "model/heads/head_weights.h"
#include "model/kv_storage.h"
#include "model/port.h"

namespace foresight {

class DraftNetwork : public ModelPort {
 public:
  const HeadConfig& head() const { return weights_->config; }
  const HeadWeights& weights() const { return *weights_; }

  const ModelConfig& config() const override { return head().model; }
  std::size_t page_bytes() const override { return kv_.page_bytes(); }
  std::int64_t page_slots() const override { return ops::kPageSlots; }
  void allocate_pages(std::int64_t num_pages) override { kv_.allocate(num_pages); }
  void copy_slots(std::span<const SlotCopy> copies) override { kv_.copy(copies); }
  std::size_t packed_bytes() const override { return weights_->packed_bytes(); }

  // states [num_rows, target layers, target hidden size] -> features [num_rows, hidden_size].
  virtual void project(const float* states, std::int64_t num_rows, float* features) = 0;

 protected:
  DraftNetwork(const CpuContext& context, std::shared_ptr<const HeadWeights> weights);

  // out [rows, size] = norm of x; both with row strides of their own.
  void normalize(const float* x, std::int64_t stride, std::int64_t num_rows,
                 const std::vector<float>& weight, float* out, std::int64_t out_stride) const;
  void embed(const ForwardBatch& batch, float* out) const;
  // states through fc.
  void apply_fc(const float* x, std::int64_t num_rows, float* out);
  struct PairedRows {
    const float* pairs =
        nullptr;         // [rows, 2 hidden]: normed embedding and feature, in head's order
    float* x = nullptr;  // [rows, hidden]: room for the residual stream
  };
  // Prepares a batch whose rows hold a token and a feature.
  PairedRows begin_pairs(const ForwardBatch& batch);
  // x [rows, hidden] += attention of `from`, [rows, inputs of the layer], which is normed already.
  void attend(std::int64_t layer, const AttentionStep& step, const float* from, float* x);
  void run_mlp(std::int64_t layer, std::int64_t num_rows, float* x);
  // A whole layer, norms before its blocks.
  void run_layer(std::int64_t layer, const AttentionStep& step, float* x);
  // The layers from `first` on, over the rows that rows_ was prepared for.
  void run_layers(std::int64_t first, float* x);
  // Logits of the rows that ask, and `hidden` [rows, hidden] of those whose hidden state is wanted.
  // normed: what the logits are computed from, [rows, hidden].
  ForwardResult answer(const ForwardBatch& batch, const float* normed, const float* hidden);

  CpuContext context_;
  std::shared_ptr<const HeadWeights> weights_;
  StepRows rows_;
  KvStorage kv_;
  AttentionWorkspace attention_workspace_;
  Scratch x_;  // [T, hidden] residual stream

 private:
  Scratch normed_;  // [T, hidden]
  Scratch pairs_;   // [T, 2 hidden]
  Scratch embedded_;
  Scratch asked_;
  Scratch logits_;
  std::vector<float> hidden_;
  MlpWorkspace mlp_workspace_;
  LinearScratch fc_scratch_;
  ops::MatmulScratch output_scratch_;
};

// By weights->config.kind; `context`, which the weights are packed for, must outlive the network.
std::unique_ptr<DraftNetwork> make_draft_network(const CpuContext& context,
                                                 std::shared_ptr<const HeadWeights> weights);

using HeadMaker = std::unique_ptr<DraftNetwork>(const CpuContext& context,
                                                std::shared_ptr<const HeadWeights> weights);
HeadMaker make_eagle3;
HeadMaker make_mtp;
HeadMaker make_dflash;

}  // namespace foresight
