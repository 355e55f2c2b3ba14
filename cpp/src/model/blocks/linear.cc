#include "model/blocks/linear.h"

namespace foresight {

Linear::Linear(const CpuContext& context, const Weights& weights,
               const std::vector<LinearPart>& parts, std::int64_t num_inputs, DType storage) {
  std::vector<TensorView> views;
  bool any_bias = false;
  for (const LinearPart& part : parts) {
    views.push_back(weights.get(part.name, {part.num_outputs, num_inputs}));
    any_bias = any_bias || part.has_bias;
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

void Linear::apply(const CpuContext& context, const float* x, std::int64_t x_stride,
                   std::int64_t num_rows, float* out, std::int64_t out_stride, bool accumulate,
                   ops::MatmulScratch& scratch) const {
  ops::matmul(context,
              {.a = x,
               .lda = x_stride,
               .num_rows = num_rows,
               .weight = &weight_,
               .bias = bias_.empty() ? nullptr : bias_.data(),
               .c = out,
               .ldc = out_stride,
               .accumulate = accumulate},
              scratch);
}

}  // namespace foresight
