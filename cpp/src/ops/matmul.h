// Matrix product with a packed weight: C[m, n] = sum_k A[m, k] W[n, k] (+ bias[n]) (+ C[m, n]).
//
// Order of sums: every C[m, n] is one chain over k (or over pairs of k for bf16 on avx512_bf16)
// from k = 0 upwards, independent of M, of the place of m in the batch and of the number of
// threads; then bias is added, then the old C. On avx512_bf16 with bf16 weights A is first rounded
// to bf16; on all other variants A stays float32 and weights are widened exactly.
#pragma once

#include <cstdint>

#include "backend/cpu_context.h"
#include "core/buffer.h"
#include "ops/packed_matrix.h"

namespace foresight::ops {

struct MatmulArgs {
  const float* a = nullptr;   // [M, K], row stride lda
  std::int64_t lda = 0;       // elements
  std::int64_t num_rows = 0;  // M; 0 is allowed and does nothing
  const PackedMatrix* weight = nullptr;
  const float* bias = nullptr;  // [N] or null
  float* c = nullptr;           // [M, N], row stride ldc; must not overlap a
  std::int64_t ldc = 0;         // elements
  bool accumulate = false;      // add to what c holds (residual streams)
};

// A run of panels for all rows, as plain data: what one call of the kernel computes.
struct MatmulPanels {
  const float* a = nullptr;
  std::int64_t lda = 0;
  const Bits16* a_bf16 = nullptr;  // [M, K padded to even]: A rounded, set only if uses_bf16_rows()
  std::int64_t num_rows = 0;
  const void* panels = nullptr;  // the first panel's data; the others follow
  DType dtype = DType::f32;
  std::int64_t num_inputs = 0;   // K
  std::int64_t num_outputs = 0;  // of these panels, so possibly less than 32 per panel
  const float* bias = nullptr;   // of the first output of the first panel, or null; c likewise
  float* c = nullptr;
  std::int64_t ldc = 0;
  bool accumulate = false;
};

struct MatmulKernel {
  static constexpr const char* kName = "matmul";
  using Signature = void(const MatmulPanels& panels);
};

// Whether the variant for `isa` multiplies bf16 weights with rows rounded to bf16.
constexpr bool uses_bf16_rows(Isa isa, DType dtype) {
  return isa >= Isa::avx512_bf16 && dtype == DType::bf16;
}

// Rounds rows to bf16 with zero padding: out[m, 0..padded_k).
struct RowsToBf16Kernel {
  static constexpr const char* kName = "rows_to_bf16";
  using Signature = void(const float* a, std::int64_t lda, std::int64_t num_rows,
                         std::int64_t num_inputs, Bits16* out, std::int64_t padded_inputs);
};

// Scratch is owned by the caller so that steps do not allocate.
struct MatmulScratch {
  Scratch rows_bf16;
};

// Throws InternalError on inconsistent shapes.
void matmul(const CpuContext& context, const MatmulArgs& args, MatmulScratch& scratch);

}  // namespace foresight::ops
