// The one packed layout of weight matrices, shared by every ISA.
//
// A matrix W [N, K] (N outputs, K inputs, row-major in checkpoints) is cut into panels of 32
// outputs:
//   f32, f16:  data[panel][k][32]
//   bf16:      data[panel][k / 2][32][2]       two consecutive k of one output share a 32-bit lane
// N is padded with zeros to a multiple of 32, K (bf16 only) to a multiple of 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu_context.h"
#include "core/buffer.h"
#include "core/dtype.h"
#include "core/tensor_view.h"

namespace foresight::ops {

inline constexpr std::int64_t kPanelColumns = 32;

class PackedMatrix {
 public:
  PackedMatrix() = default;

  // Stacks parts [N_i, K] along N (q, k and v of one layer, gate and up) and converts them to
  // `storage`. Throws ValueError when a part is not rank 2 or the K differ. Parallel over panels.
  static PackedMatrix pack(const CpuContext& context, std::span<const TensorView> parts,
                           DType storage);

  DType dtype() const { return dtype_; }
  std::int64_t num_outputs() const { return num_outputs_; }  // N
  std::int64_t num_inputs() const { return num_inputs_; }    // K
  std::int64_t num_panels() const { return (num_outputs_ + kPanelColumns - 1) / kPanelColumns; }
  // Elements of one panel: padded K times 32.
  std::int64_t panel_elements() const;
  const void* panel(std::int64_t index) const;
  std::size_t num_bytes() const { return data_.size(); }
  bool empty() const { return num_outputs_ == 0; }

  // W[n, k] as float32 (tests, gathers of single elements).
  float at(std::int64_t n, std::int64_t k) const;

 private:
  DType dtype_ = DType::f32;
  std::int64_t num_outputs_ = 0;
  std::int64_t num_inputs_ = 0;
  Buffer data_;
};

}  // namespace foresight::ops
