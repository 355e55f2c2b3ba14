#include "ops/rope.h"

#include "ops/tasks.h"

namespace foresight::ops {

void rope(const CpuContext& context, const RopeArgs& args) {
  const std::int64_t row_size = args.num_heads * args.head_dim;
  FORESIGHT_CHECK(
      args.num_rows >= 0 && args.num_heads > 0 && args.rotary_dim >= 0 &&
          args.rotary_dim <= args.head_dim && args.rotary_dim % 2 == 0 && args.x_stride >= row_size,
      concat("rope of ", args.num_rows, " rows of ", args.num_heads, " x ", args.head_dim, ", ",
             args.rotary_dim, " of them turning, stride ", args.x_stride));
  auto* kernel = context.kernel<RopeKernel>();
  for_each_row_block(context, args.num_rows, row_size,
                     [&](std::int64_t begin, std::int64_t end) { kernel(args, begin, end); });
}

}  // namespace foresight::ops
