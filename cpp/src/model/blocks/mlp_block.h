// A gated MLP: down(act(gate(x)) * up(x)). The whole of a dense layer, or one expert.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model/blocks/linear.h"
#include "model/config.h"
#include "ops/gated_mlp.h"

namespace foresight {

struct MlpWorkspace {
  Scratch gate_up;  // [T, 2 intermediate]
  Scratch hidden;   // [T, intermediate]
  LinearScratch linear;
};

class MlpBlock {
 public:
  // Reads {prefix}{gate, up, down and their biases}.
  MlpBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
           const std::string& prefix, std::int64_t intermediate_size, DType storage);

  // out [T, hidden] (+)= mlp(x [T, hidden]).
  void apply(const CpuContext& context, const float* x, std::int64_t num_rows,
             std::span<const std::int32_t> adapter_rows, float* out, bool accumulate,
             MlpWorkspace& workspace) const;

  std::size_t packed_bytes() const { return gate_up_.packed_bytes() + down_.packed_bytes(); }

 private:
  std::int64_t hidden_size_;
  std::int64_t intermediate_size_;
  ops::Activation activation_;
  Linear gate_up_;
  Linear down_;
};

}  // namespace foresight
