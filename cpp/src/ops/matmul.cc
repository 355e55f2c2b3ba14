#include "ops/matmul.h"

#include <algorithm>

#include "ops/tasks.h"

namespace foresight::ops {
namespace {

const Bits16* round_rows(const CpuContext& context, const MatmulArgs& args,
                         MatmulScratch& scratch) {
  const std::int64_t k = args.weight->num_inputs();
  const std::int64_t padded = (k + 1) / 2 * 2;
  auto* rounded =
      scratch.rows_bf16.reserve<Bits16>(static_cast<std::size_t>(args.num_rows * padded));
  auto* kernel = context.kernel<RowsToBf16Kernel>();
  for_each_row_block(context, args.num_rows, k, [&](std::int64_t begin, std::int64_t end) {
    kernel(args.a + begin * args.lda, args.lda, end - begin, k, rounded + begin * padded, padded);
  });
  return rounded;
}

// Panels of one task: enough tasks to keep every thread busy to the end, few enough to be cheap.
std::int64_t panels_per_task(std::int64_t num_panels, int num_threads) {
  const std::int64_t share = num_panels / (num_threads * 8);
  return std::clamp<std::int64_t>(share / 4 * 4, 4, 32);
}

}  // namespace

void matmul(const CpuContext& context, const MatmulArgs& args, MatmulScratch& scratch) {
  FORESIGHT_CHECK(args.weight != nullptr && !args.weight->empty(), "matmul without a weight");
  const PackedMatrix& weight = *args.weight;
  FORESIGHT_CHECK(
      args.num_rows >= 0 && args.lda >= weight.num_inputs() && args.ldc >= weight.num_outputs(),
      concat("matmul of [", args.num_rows, ", ", args.lda, "] with [", weight.num_outputs(), ", ",
             weight.num_inputs(), "] into rows of ", args.ldc));
  if (args.num_rows == 0) return;
  FORESIGHT_CHECK(args.a != nullptr && args.c != nullptr, "matmul without rows");

  const Bits16* rounded =
      uses_bf16_rows(context.isa, weight.dtype()) ? round_rows(context, args, scratch) : nullptr;
  auto* kernel = context.kernel<MatmulKernel>();
  const std::int64_t num_panels = weight.num_panels();
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin * kPanelColumns;
    kernel({.a = args.a,
            .lda = args.lda,
            .a_bf16 = rounded,
            .num_rows = args.num_rows,
            .panels = weight.panel(begin),
            .dtype = weight.dtype(),
            .num_inputs = weight.num_inputs(),
            .num_outputs = std::min(end * kPanelColumns, weight.num_outputs()) - first,
            .bias = args.bias == nullptr ? nullptr : args.bias + first,
            .c = args.c + first,
            .ldc = args.ldc,
            .accumulate = args.accumulate});
  };
  if (args.num_rows * weight.panel_elements() * num_panels <= kSerialWork)
    return run(0, num_panels);
  const std::int64_t block = panels_per_task(num_panels, context.threads->num_threads());
  context.threads->parallel_for(
      static_cast<std::size_t>((num_panels + block - 1) / block), [&](std::size_t task, int) {
        const std::int64_t begin = static_cast<std::int64_t>(task) * block;
        run(begin, std::min(begin + block, num_panels));
      });
}

}  // namespace foresight::ops
