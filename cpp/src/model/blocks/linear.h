// A linear layer over a packed weight, with an optional low-rank adapter for some of its rows
// (LoRA; Hu et al., 2021).
#pragma once

#include <cstdint>
#include <span>
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

struct LinearInput {
  const float* x = nullptr;  // [num_rows, inputs]
  std::int64_t stride = 0;
  std::int64_t num_rows = 0;
  std::span<const std::int32_t> adapter_rows;  // rows that go through the adapter as well
};

struct LinearScratch {
  ops::MatmulScratch matmul;
  Scratch rows;   // [adapter rows, inputs]
  Scratch low;    // [adapter rows, rank]
  Scratch delta;  // [adapter rows, outputs of a part]
};

class Linear {
 public:
  Linear() = default;
  // A part has an adapter where the weights hold {name}.lora_a; its output is scaled.
  Linear(const CpuContext& context, const Weights& weights, const std::vector<LinearPart>& parts,
         std::int64_t num_inputs, DType storage, float adapter_scale = 0.0f);

  // out [rows, outputs] = x [rows, inputs] W^T + bias, or added to what out holds; the rows of the
  // adapter then get scale * (x A^T) B^T on top, and the others stay as they are, bit for bit.
  void apply(const CpuContext& context, const LinearInput& input, float* out,
             std::int64_t out_stride, bool accumulate, LinearScratch& scratch) const;

  std::int64_t num_inputs() const { return weight_.num_inputs(); }
  std::size_t packed_bytes() const;

 private:
  struct Adapter {
    std::int64_t first_output = 0;
    ops::PackedMatrix down;  // A [rank, inputs]
    ops::PackedMatrix up;    // B [outputs of the part, rank]
  };
  void add_adapters(const CpuContext& context, const LinearInput& input, float* out,
                    std::int64_t out_stride, LinearScratch& scratch) const;

  ops::PackedMatrix weight_;
  std::vector<float> bias_;  // [outputs], or empty
  std::vector<Adapter> adapters_;
  float adapter_scale_ = 0.0f;
};

}  // namespace foresight
