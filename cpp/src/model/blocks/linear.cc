#include "model/blocks/linear.h"

#include <algorithm>

#include "core/error.h"

namespace foresight {

Linear::Linear(const CpuContext& context, const Weights& weights,
               const std::vector<LinearPart>& parts, std::int64_t num_inputs, DType storage,
               float adapter_scale)
    : adapter_scale_(adapter_scale) {
  std::vector<TensorView> views;
  bool any_bias = false;
  std::int64_t first_output = 0;
  for (const LinearPart& part : parts) {
    views.push_back(weights.get(part.name, {part.num_outputs, num_inputs}));
    any_bias = any_bias || part.has_bias;
    if (const TensorView* down = weights.find(part.name + ".lora_a")) {
      const std::int64_t rank = down->shape.empty() ? 0 : down->shape[0];
      const TensorView& a = weights.get(part.name + ".lora_a", {rank, num_inputs});
      const TensorView& b = weights.get(part.name + ".lora_b", {part.num_outputs, rank});
      adapters_.push_back({.first_output = first_output,
                           .down = ops::PackedMatrix::pack(context, {&a, 1}, storage),
                           .up = ops::PackedMatrix::pack(context, {&b, 1}, storage)});
    }
    first_output += part.num_outputs;
  }
  weight_ = ops::PackedMatrix::pack(context, views, storage);
  if (!any_bias) return;
  for (const LinearPart& part : parts) {
    const std::vector<float> bias =
        part.has_bias ? weights.vector(part.name + "_bias", part.num_outputs)
                      : std::vector<float>(static_cast<std::size_t>(part.num_outputs), 0.0f);
    bias_.insert(bias_.end(), bias.begin(), bias.end());
  }
}

std::size_t Linear::packed_bytes() const {
  std::size_t total = weight_.num_bytes();
  for (const Adapter& adapter : adapters_)
    total += adapter.down.num_bytes() + adapter.up.num_bytes();
  return total;
}

void Linear::apply(const CpuContext& context, const LinearInput& input, float* out,
                   std::int64_t out_stride, bool accumulate, LinearScratch& scratch) const {
  ops::matmul(context,
              {.a = input.x,
               .lda = input.stride,
               .num_rows = input.num_rows,
               .weight = &weight_,
               .bias = bias_.empty() ? nullptr : bias_.data(),
               .c = out,
               .ldc = out_stride,
               .accumulate = accumulate},
              scratch.matmul);
  if (!adapters_.empty() && !input.adapter_rows.empty()) {
    add_adapters(context, input, out, out_stride, scratch);
  }
}

void Linear::add_adapters(const CpuContext& context, const LinearInput& input, float* out,
                          std::int64_t out_stride, LinearScratch& scratch) const {
  const std::int64_t num_rows = std::ssize(input.adapter_rows);
  const std::int64_t num_inputs = weight_.num_inputs();
  float* rows = scratch.rows.reserve<float>(static_cast<std::size_t>(num_rows * num_inputs));
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const std::int64_t row = input.adapter_rows[static_cast<std::size_t>(i)];
    std::copy_n(input.x + row * input.stride, num_inputs, rows + i * num_inputs);
  }
  for (const Adapter& adapter : adapters_) {
    const std::int64_t rank = adapter.down.num_outputs();
    const std::int64_t size = adapter.up.num_outputs();
    float* low = scratch.low.reserve<float>(static_cast<std::size_t>(num_rows * rank));
    float* delta = scratch.delta.reserve<float>(static_cast<std::size_t>(num_rows * size));
    ops::matmul(context,
                {.a = rows,
                 .lda = num_inputs,
                 .num_rows = num_rows,
                 .weight = &adapter.down,
                 .c = low,
                 .ldc = rank},
                scratch.matmul);
    ops::matmul(context,
                {.a = low,
                 .lda = rank,
                 .num_rows = num_rows,
                 .weight = &adapter.up,
                 .c = delta,
                 .ldc = size},
                scratch.matmul);
    for (std::int64_t i = 0; i < num_rows; ++i) {
      const std::int64_t row = input.adapter_rows[static_cast<std::size_t>(i)];
      float* to = out + row * out_stride + adapter.first_output;
      for (std::int64_t n = 0; n < size; ++n) to[n] += adapter_scale_ * delta[i * size + n];
    }
  }
}

}  // namespace foresight
