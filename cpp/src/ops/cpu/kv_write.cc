#include "ops/cpu/vec.h"
#include "ops/kv_pages.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

template <typename Storage>
FORESIGHT_INLINE void narrow(const float* from, std::int64_t size, typename Storage::Element* to) {
  std::int64_t d = 0;
  for (; d + kWidth <= size; d += kWidth) store(Storage{}, to + d, load(F32{}, from + d));
  if (d < size) store_n(Storage{}, to + d, load_n(F32{}, from + d, size - d), size - d);
}

template <typename Storage>
void write(const KvWriteArgs& args, std::int64_t row_begin, std::int64_t row_end) {
  using Element = typename Storage::Element;
  constexpr std::int64_t kUnit = Storage::kPaired ? 2 : 1;
  constexpr std::int64_t kBlock = 64;  // of d, even
  const std::int64_t head_dim = args.pages.head_dim;
  const std::int64_t head_elements = head_dim * kPageSlots;
  for (std::int64_t m = row_begin; m < row_end; ++m) {
    const std::int64_t slot = args.slots[m].slot;
    for (std::int64_t h = 0; h < args.pages.num_kv_heads; ++h) {
      const std::int64_t base = (args.slots[m].page * args.pages.num_kv_heads + h) * head_elements;
      const float* k = args.k + m * args.stride + h * head_dim;
      const float* v = args.v + m * args.stride + h * head_dim;
      narrow<Storage>(v, head_dim,
                      static_cast<Element*>(args.pages.values) + base + slot * head_dim);
      Element* keys = static_cast<Element*>(args.pages.keys) + base + slot * kUnit;
      for (std::int64_t d = 0; d < head_dim; d += kBlock) {
        const std::int64_t n = head_dim - d < kBlock ? head_dim - d : kBlock;
        Element block[kBlock];
        narrow<Storage>(k + d, n, block);
        for (std::int64_t i = 0; i < n; ++i) {
          keys[(d + i) / kUnit * (kPageSlots * kUnit) + (d + i) % kUnit] = block[i];
        }
      }
    }
  }
}

void kv_write(const KvWriteArgs& args, std::int64_t row_begin, std::int64_t row_end) {
  switch (args.pages.dtype) {
    case DType::f32:
      write<F32>(args, row_begin, row_end);
      break;
    case DType::bf16:
      write<Bf16>(args, row_begin, row_end);
      break;
    case DType::f16:
      write<F16>(args, row_begin, row_end);
      break;
  }
}

}  // namespace

void register_kv_write(KernelRegistry& registry) {
  registry.add<KvWriteKernel>(Isa(FORESIGHT_ISA_LEVEL), &kv_write);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
