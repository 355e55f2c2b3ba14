// A linear layer over a packed weight.
#pragma once

#include <string>
#include <vector>

#include "model/weights.h"
#include "ops/matmul.h"

namespace foresight {

// One of the matrices that a layer stacks along its outputs (q, k and v; gate and up).
struct LinearPart {
  std::string name;  // canonical, without "_bias"
  std::int64_t num_outputs = 0;
  bool has_bias = false;
};

class Linear {
 public:
  Linear() = default;
  Linear(const CpuContext& context, const Weights& weights, const std::vector<LinearPart>& parts,
         std::int64_t num_inputs, DType storage);

  // out [rows, outputs] = x [rows, inputs] W^T + bias, or added to what out holds.
  void apply(const CpuContext& context, const float* x, std::int64_t x_stride,
             std::int64_t num_rows, float* out, std::int64_t out_stride, bool accumulate,
             ops::MatmulScratch& scratch) const;

  const ops::PackedMatrix& weight() const { return weight_; }

 private:
  ops::PackedMatrix weight_;
  std::vector<float> bias_;  // [outputs], or empty
};

}  // namespace foresight
