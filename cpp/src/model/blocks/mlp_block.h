// The gated MLP of one layer: down(act(gate(x)) * up(x)).
#pragma once

#include <cstdint>

#include "model/blocks/linear.h"
#include "model/config.h"
#include "ops/gated_mlp.h"

namespace foresight {

struct MlpWorkspace {
  Scratch gate_up;  // [T, 2 intermediate]
  Scratch hidden;   // [T, intermediate]
  ops::MatmulScratch matmul;
};

class MlpBlock {
 public:
  // Reads layers.{layer}.{gate, up, down and their biases}.
  MlpBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
           std::int64_t layer, DType storage);

  // out [T, hidden] (+)= mlp(x [T, hidden]).
  void apply(const CpuContext& context, const float* x, std::int64_t num_rows, float* out,
             bool accumulate, MlpWorkspace& workspace) const;

  std::size_t packed_bytes() const {
    return gate_up_.weight().num_bytes() + down_.weight().num_bytes();
  }

 private:
  std::int64_t hidden_size_;
  std::int64_t intermediate_size_;
  ops::Activation activation_;
  Linear gate_up_;
  Linear down_;
};

}  // namespace foresight
