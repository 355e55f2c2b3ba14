// A stack of decoder layers over packed weights on the CPU: the one body of all families.
// Activations are float32 throughout; weights and K/V have the storage type.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "model/blocks/attention_block.h"
#include "model/blocks/mlp_block.h"
#include "model/blocks/moe_block.h"
#include "model/blocks/rope_table.h"
#include "model/kv_storage.h"
#include "model/port.h"
#include "model/weights.h"

namespace foresight {

// What tells the families apart; each family's file fills one in.
struct DecoderTraits {
  bool qk_norm = false;      // RMSNorm of each head of q and k before the rotation
  bool post_norms = false;   // norms after attention and MLP too, before the residual sum (Gemma)
  float norm_offset = 0.0f;  // added to every norm weight (Gemma: 1)
};

class Decoder final : public ModelPort {
 public:
  // Packs all weights; `context` must outlive the decoder. Throws ValueError naming the tensor.
  Decoder(const CpuContext& context, ModelConfig config, const Weights& weights,
          const DecoderTraits& traits, DType storage);

  const ModelConfig& config() const override { return config_; }
  std::size_t page_bytes() const override { return kv_.page_bytes(); }
  std::int64_t page_slots() const override { return ops::kPageSlots; }
  void allocate_pages(std::int64_t num_pages) override { kv_.allocate(num_pages); }
  void copy_slots(std::span<const SlotCopy> copies) override { kv_.copy(copies); }
  ForwardResult forward(const ForwardBatch& batch) override;
  std::size_t packed_bytes() const override;

 private:
  struct Layer {
    std::vector<float> attn_norm;  // [hidden]
    AttentionBlock attention;
    std::vector<float> post_attn_norm;  // [hidden], or empty
    std::vector<float> mlp_norm;        // [hidden]
    std::variant<MlpBlock, MoeBlock> mlp;
    std::vector<float> post_mlp_norm;  // [hidden], or empty
  };

  void prepare(const ForwardBatch& batch);
  void gather_rope(const ForwardBatch& batch, RopeTable& table, std::vector<float>& cos,
                   std::vector<float>& sin) const;
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
  ModelConfig config_;
  DecoderTraits traits_;
  ops::PackedMatrix embedding_;   // [vocab, hidden]; also the head when tied
  std::vector<float> positions_;  // [learned positions, hidden], or empty
  std::vector<Layer> layers_;
  std::vector<float> final_norm_;  // [hidden]
  ops::PackedMatrix head_;         // [vocab, hidden], empty when tied
  RopeTable rope_full_;
  RopeTable rope_sliding_;
  bool has_full_ = false;
  bool has_sliding_ = false;
  KvStorage kv_;

  // Per-step state, reused.
  std::vector<ops::KvSlot> slots_;  // [T]
  std::vector<ops::AttentionSegment> segments_;
  std::vector<std::int32_t> adapter_rows_;
  std::vector<float> cos_full_, sin_full_;  // [T, rotary_dim / 2]
  std::vector<float> cos_sliding_, sin_sliding_;
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
