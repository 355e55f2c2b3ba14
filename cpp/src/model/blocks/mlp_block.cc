#include "model/blocks/mlp_block.h"

namespace foresight {

MlpBlock::MlpBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
                   const std::string& prefix, std::int64_t intermediate_size, DType storage)
    : hidden_size_(config.hidden_size),
      intermediate_size_(intermediate_size),
      activation_(config.activation == "silu" ? ops::Activation::silu
                                              : ops::Activation::gelu_tanh) {
  gate_up_ = Linear(context, weights,
                    {{prefix + "gate", intermediate_size_, config.mlp_bias},
                     {prefix + "up", intermediate_size_, config.mlp_bias}},
                    hidden_size_, storage, config.adapter_scale);
  down_ = Linear(context, weights, {{prefix + "down", hidden_size_, config.mlp_bias}},
                 intermediate_size_, storage, config.adapter_scale);
}

void MlpBlock::apply(const CpuContext& context, const float* x, std::int64_t num_rows,
                     std::span<const std::int32_t> adapter_rows, float* out, bool accumulate,
                     MlpWorkspace& workspace) const {
  const std::int64_t doubled = 2 * intermediate_size_;
  float* gate_up = workspace.gate_up.reserve<float>(static_cast<std::size_t>(num_rows * doubled));
  float* hidden =
      workspace.hidden.reserve<float>(static_cast<std::size_t>(num_rows * intermediate_size_));
  gate_up_.apply(
      context, {.x = x, .stride = hidden_size_, .num_rows = num_rows, .adapter_rows = adapter_rows},
      gate_up, doubled, false, workspace.linear);
  ops::gated_mlp(context, {.gate_up = gate_up,
                           .gate_up_stride = doubled,
                           .num_rows = num_rows,
                           .size = intermediate_size_,
                           .activation = activation_,
                           .out = hidden,
                           .out_stride = intermediate_size_});
  down_.apply(context,
              {.x = hidden,
               .stride = intermediate_size_,
               .num_rows = num_rows,
               .adapter_rows = adapter_rows},
              out, hidden_size_, accumulate, workspace.linear);
}

}  // namespace foresight
