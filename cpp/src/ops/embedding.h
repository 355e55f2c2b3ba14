// Gathers embedding rows out of a packed matrix [vocab, hidden], so that a tied head is stored
// once.
#pragma once

#include <cstdint>

#include "backend/cpu_context.h"
#include "ops/packed_matrix.h"

namespace foresight::ops {

struct EmbeddingArgs {
  const std::int32_t* tokens =
      nullptr;  // [M], each in [0, vocab): checked by the engine at admission
  std::int64_t num_rows = 0;
  const PackedMatrix* table = nullptr;  // [vocab, hidden]
  float scale = 1.0f;                   // Gemma: sqrt(hidden)
  float* out = nullptr;                 // [M, hidden], row stride out_stride
  std::int64_t out_stride = 0;
};

// Rows as plain data: what one call of the kernel gathers.
struct EmbeddingRows {
  const std::int32_t* tokens = nullptr;
  std::int64_t num_rows = 0;
  const void* panels = nullptr;  // of the whole table
  DType dtype = DType::f32;
  std::int64_t num_inputs = 0;  // hidden
  std::int64_t panel_elements = 0;
  float scale = 1.0f;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

struct EmbeddingKernel {
  static constexpr const char* kName = "embedding";
  using Signature = void(const EmbeddingRows& rows);
};

// Throws InternalError on inconsistent shapes.
void embedding(const CpuContext& context, const EmbeddingArgs& args);

}  // namespace foresight::ops
