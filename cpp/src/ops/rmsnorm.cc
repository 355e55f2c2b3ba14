#include "ops/rmsnorm.h"

#include "ops/tasks.h"

namespace foresight::ops {

void rmsnorm(const CpuContext& context, const RmsNormArgs& args) {
  const std::int64_t row_size = args.num_groups * args.size;
  FORESIGHT_CHECK(args.num_rows >= 0 && args.size > 0 && args.num_groups > 0 &&
                      args.x_stride >= row_size && args.out_stride >= row_size,
                  concat("rmsnorm of ", args.num_rows, " rows of ", args.num_groups, " x ",
                         args.size, ", strides ", args.x_stride, " and ", args.out_stride));
  auto* kernel = context.kernel<RmsNormKernel>();
  for_each_row_block(context, args.num_rows, row_size,
                     [&](std::int64_t begin, std::int64_t end) { kernel(args, begin, end); });
}

}  // namespace foresight::ops
