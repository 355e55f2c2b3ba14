// A mixture of experts in place of a layer's MLP: each row goes to a few of many small MLPs, and to
// one that all rows share.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/blocks/mlp_block.h"
#include "model/blocks/router.h"

namespace foresight {

struct MoeWorkspace {
  struct Assignment {
    std::int32_t row = 0;
    float weight = 0.0f;
  };
  Scratch logits;                                    // [T, num_experts]
  Scratch rows;                                      // [rows of an expert, hidden]
  Scratch answers;                                   // [rows of an expert, hidden]
  Scratch mixed;                                     // [T, hidden]
  std::vector<std::vector<Assignment>> assignments;  // by expert, rows ascending
  std::vector<RoutedExpert> routed;
  RouterScratch router;
  ops::MatmulScratch matmul;
  MlpWorkspace mlp;
};

class MoeBlock {
 public:
  // Reads layers.{layer}.{router, router_bias, experts.{e}.*, shared.*}.
  MoeBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
           std::int64_t layer, DType storage);

  // out [T, hidden] (+)= the row's experts, weighted and summed in ascending order, plus the shared
  // one: what a row gets does not depend on the others.
  void apply(const CpuContext& context, const float* x, std::int64_t num_rows, float* out,
             bool accumulate, MoeWorkspace& workspace) const;

  std::size_t packed_bytes() const;

 private:
  void assign(const CpuContext& context, const float* x, std::int64_t num_rows,
              MoeWorkspace& workspace) const;

  std::int64_t hidden_size_;
  ExpertsConfig config_;
  ops::PackedMatrix router_;        // [num_experts, hidden], float32
  std::vector<float> router_bias_;  // [num_experts], or empty
  std::vector<MlpBlock> experts_;
  std::unique_ptr<MlpBlock> shared_;  // or null
};

}  // namespace foresight
