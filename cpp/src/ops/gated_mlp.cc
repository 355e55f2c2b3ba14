#include "ops/gated_mlp.h"

#include "ops/tasks.h"

namespace foresight::ops {

void gated_mlp(const CpuContext& context, const GatedMlpArgs& args) {
  FORESIGHT_CHECK(args.num_rows >= 0 && args.size > 0 && args.gate_up_stride >= 2 * args.size &&
                      args.out_stride >= args.size,
                  concat("gated_mlp of ", args.num_rows, " rows of 2 x ", args.size, ", strides ",
                         args.gate_up_stride, " and ", args.out_stride));
  auto* kernel = context.kernel<GatedMlpKernel>();
  for_each_row_block(context, args.num_rows, args.size,
                     [&](std::int64_t begin, std::int64_t end) { kernel(args, begin, end); });
}

}  // namespace foresight::ops
