// The layout of one layer's K/V bytes, and the ops that write and move rows of it.
//
// A page holds kPageSlots slots of one sequence, for all K/V heads:
//   keys,   f32 and f16:  k[page][kv_head][d][slot]             a vector of slots per d: scores of
//   16 keys keys,   bf16:         k[page][kv_head][d / 2][slot][2]      come without horizontal
//   sums values:               v[page][kv_head][slot][d]
// head_dim is even.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/cpu_context.h"
#include "core/dtype.h"

namespace foresight::ops {

inline constexpr std::int64_t kPageSlots = 16;

struct KvPages {
  void* keys = nullptr;
  void* values = nullptr;
  DType dtype = DType::f32;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;

  std::int64_t page_elements() const {
    return num_kv_heads * head_dim * kPageSlots;
  }  // of keys or values
};

// Where one row lives: page id and slot inside the page.
struct KvSlot {
  std::int32_t page = 0;
  std::int32_t slot = 0;
};

struct KvWriteArgs {
  KvPages pages;
  const KvSlot* slots = nullptr;  // [M]
  std::int64_t num_rows = 0;      // M
  const float* k =
      nullptr;  // [M, num_kv_heads, head_dim], row stride stride; rounded to pages.dtype
  const float* v = nullptr;  // likewise
  std::int64_t stride = 0;   // elements
};

struct KvWriteKernel {
  static constexpr const char* kName = "kv_write";
  using Signature = void(const KvWriteArgs& args, std::int64_t row_begin, std::int64_t row_end);
};

void kv_write(const CpuContext& context, const KvWriteArgs& args);

// Copies rows slot by slot, in the order given (a later copy may read what an earlier one wrote).
void kv_copy(const KvPages& pages, std::span<const KvSlot> from, std::span<const KvSlot> to);

}  // namespace foresight::ops
