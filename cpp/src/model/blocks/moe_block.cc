#include "model/blocks/moe_block.h"

#include <algorithm>

#include "core/error.h"

namespace foresight {

MoeBlock::MoeBlock(const CpuContext& context, const ModelConfig& config, const Weights& weights,
                   std::int64_t layer, DType storage)
    : hidden_size_(config.hidden_size), config_(config.experts) {
  const std::string prefix = concat("layers.", layer, ".");
  const TensorView& router =
      weights.get(prefix + "router", {config_.num_experts, config.hidden_size});
  router_ = ops::PackedMatrix::pack(context, {&router, 1}, DType::f32);
  if (config_.choice_bias) {
    router_bias_ = weights.vector(prefix + "router_bias", config_.num_experts);
  }
  experts_.reserve(static_cast<std::size_t>(config_.num_experts));
  for (std::int64_t e = 0; e < config_.num_experts; ++e) {
    experts_.emplace_back(context, config, weights, concat(prefix, "experts.", e, "."),
                          config_.intermediate_size, storage);
  }
  if (config_.shared_intermediate_size > 0) {
    shared_ = std::make_unique<MlpBlock>(context, config, weights, prefix + "shared.",
                                         config_.shared_intermediate_size, storage);
  }
}

std::size_t MoeBlock::packed_bytes() const {
  std::size_t total = router_.num_bytes();
  for (const MlpBlock& expert : experts_) total += expert.packed_bytes();
  return total + (shared_ ? shared_->packed_bytes() : 0);
}

void MoeBlock::assign(const CpuContext& context, const float* x, std::int64_t num_rows,
                      MoeWorkspace& workspace) const {
  const std::int64_t count = config_.num_experts;
  float* logits = workspace.logits.reserve<float>(static_cast<std::size_t>(num_rows * count));
  ops::matmul(context,
              {.a = x,
               .lda = hidden_size_,
               .num_rows = num_rows,
               .weight = &router_,
               .c = logits,
               .ldc = count},
              workspace.matmul);
  workspace.assignments.resize(static_cast<std::size_t>(count));
  for (auto& rows : workspace.assignments) rows.clear();
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::span<const float> of_row(logits + row * count, static_cast<std::size_t>(count));
    route(config_, of_row, router_bias_, workspace.router, workspace.routed);
    for (const RoutedExpert& routed : workspace.routed) {
      workspace.assignments[static_cast<std::size_t>(routed.expert)].push_back(
          {static_cast<std::int32_t>(row), routed.weight});
    }
  }
}

void MoeBlock::apply(const CpuContext& context, const float* x, std::int64_t num_rows, float* out,
                     bool accumulate, MoeWorkspace& workspace) const {
  assign(context, x, num_rows, workspace);
  const auto elements = static_cast<std::size_t>(num_rows * hidden_size_);
  float* mixed = workspace.mixed.reserve<float>(elements);
  std::fill_n(mixed, elements, 0.0f);
  for (std::size_t e = 0; e < experts_.size(); ++e) {
    const auto& assigned = workspace.assignments[e];
    if (assigned.empty()) continue;
    const std::int64_t count = std::ssize(assigned);
    const auto size = static_cast<std::size_t>(count * hidden_size_);
    float* rows = workspace.rows.reserve<float>(size);
    float* answers = workspace.answers.reserve<float>(size);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = assigned[static_cast<std::size_t>(i)].row;
      std::copy_n(x + row * hidden_size_, hidden_size_, rows + i * hidden_size_);
    }
    experts_[e].apply(context, rows, count, {}, answers, false, workspace.mlp);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto [row, weight] = assigned[static_cast<std::size_t>(i)];
      float* to = mixed + row * hidden_size_;
      const float* from = answers + i * hidden_size_;
      for (std::int64_t d = 0; d < hidden_size_; ++d) to[d] += weight * from[d];
    }
  }
  if (shared_) shared_->apply(context, x, num_rows, {}, mixed, true, workspace.mlp);
  if (!accumulate) {
    std::copy_n(mixed, elements, out);
  } else {
    for (std::size_t i = 0; i < elements; ++i) out[i] += mixed[i];
  }
}

}  // namespace foresight
