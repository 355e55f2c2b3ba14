// How the launchers of ops split their work over threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu_context.h"

namespace foresight::ops {

// Multiply-adds (or elements, for elementwise ops) below which waking the threads costs more than
// it saves.
inline constexpr std::int64_t kSerialWork = std::int64_t{1} << 17;
inline constexpr std::int64_t kSerialElements = std::int64_t{1} << 14;

// Calls run(begin, end) over [0, num_rows) for an op whose row costs row_elements.
template <typename Run>
void for_each_row_block(const CpuContext& context, std::int64_t num_rows, std::int64_t row_elements,
                        const Run& run) {
  if (num_rows == 0) return;
  if (num_rows * row_elements <= kSerialElements) return run(std::int64_t{0}, num_rows);
  const std::int64_t tasks = 4 * context.threads->num_threads();
  const std::int64_t block = (num_rows + tasks - 1) / tasks;
  context.threads->parallel_for(
      static_cast<std::size_t>((num_rows + block - 1) / block), [&](std::size_t task, int) {
        const std::int64_t begin = static_cast<std::int64_t>(task) * block;
        run(begin, std::min(begin + block, num_rows));
      });
}

}  // namespace foresight::ops
