#include "ops/kv_pages.h"

#include <cstring>

#include "ops/tasks.h"

namespace foresight::ops {

void kv_write(const CpuContext& context, const KvWriteArgs& args) {
  const std::int64_t row_size = args.pages.num_kv_heads * args.pages.head_dim;
  FORESIGHT_CHECK(
      args.num_rows >= 0 && row_size > 0 && args.pages.head_dim % 2 == 0 && args.stride >= row_size,
      concat("kv_write of ", args.num_rows, " rows of ", args.pages.num_kv_heads, " x ",
             args.pages.head_dim, ", stride ", args.stride));
  auto* kernel = context.kernel<KvWriteKernel>();
  for_each_row_block(context, args.num_rows, row_size,
                     [&](std::int64_t begin, std::int64_t end) { kernel(args, begin, end); });
}

void kv_copy(const KvPages& pages, std::span<const KvSlot> from, std::span<const KvSlot> to) {
  FORESIGHT_CHECK(from.size() == to.size(),
                  concat("kv_copy of ", from.size(), " slots to ", to.size()));
  // Keys: units of one slot lie kPageSlots apart; a unit is one element, or two for bf16.
  const std::size_t element = size_of(pages.dtype);
  const std::size_t unit = pages.dtype == DType::bf16 ? 2 * element : element;
  const auto head_dim = static_cast<std::size_t>(pages.head_dim);
  const std::size_t head_bytes = head_dim * static_cast<std::size_t>(kPageSlots) * element;
  const std::size_t num_units = head_dim * element / unit;
  const auto slots = static_cast<std::size_t>(kPageSlots);
  auto* keys = static_cast<std::byte*>(pages.keys);
  auto* values = static_cast<std::byte*>(pages.values);
  for (std::size_t i = 0; i < from.size(); ++i) {
    for (std::int64_t h = 0; h < pages.num_kv_heads; ++h) {
      const std::size_t source =
          static_cast<std::size_t>(from[i].page * pages.num_kv_heads + h) * head_bytes;
      const std::size_t target =
          static_cast<std::size_t>(to[i].page * pages.num_kv_heads + h) * head_bytes;
      const auto source_slot = static_cast<std::size_t>(from[i].slot);
      const auto target_slot = static_cast<std::size_t>(to[i].slot);
      std::memmove(values + target + target_slot * head_dim * element,
                   values + source + source_slot * head_dim * element, head_dim * element);
      for (std::size_t u = 0; u < num_units; ++u) {
        std::memmove(keys + target + (u * slots + target_slot) * unit,
                     keys + source + (u * slots + source_slot) * unit, unit);
      }
    }
  }
}

}  // namespace foresight::ops
