#include "model/blocks/mlp_block.h"

namespace foresight {

MlpBlock::MlpBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
                   std::int64_t layer, DType storage)
    : hidden_size_(config.hidden_size),
      intermediate_size_(config.intermediate_size),
      activation_(config.activation == "silu" ? ops::Activation::silu
                                              : ops::Activation::gelu_tanh) {
  const std::string prefix = concat("layers.", layer, ".");
  gate_up_ = Linear(context, weights,
                    {{prefix + "gate", intermediate_size_, config.mlp_bias},
                     {prefix + "up", intermediate_size_, config.mlp_bias}},
                    hidden_size_, storage);
  down_ = Linear(context, weights, {{prefix + "down", hidden_size_, config.mlp_bias}},
                 intermediate_size_, storage);
}

void MlpBlock::apply(const CpuContext& context, const float* x, std::int64_t num_rows, float* out,
                     bool accumulate, MlpWorkspace& workspace) const {
  const std::int64_t doubled = 2 * intermediate_size_;
  float* gate_up = workspace.gate_up.reserve<float>(static_cast<std::size_t>(num_rows * doubled));
  float* hidden =
      workspace.hidden.reserve<float>(static_cast<std::size_t>(num_rows * intermediate_size_));
  gate_up_.apply(context, x, hidden_size_, num_rows, gate_up, doubled, false, workspace.matmul);
  ops::gated_mlp(context, {.gate_up = gate_up,
                           .gate_up_stride = doubled,
                           .num_rows = num_rows,
                           .size = intermediate_size_,
                           .activation = activation_,
                           .out = hidden,
                           .out_stride = intermediate_size_});
  down_.apply(context, hidden, intermediate_size_, num_rows, out, hidden_size_, accumulate,
              workspace.matmul);
}

}  // namespace foresight
