#include "ops/embedding.h"

#include "ops/tasks.h"

namespace foresight::ops {

void embedding(const CpuContext& context, const EmbeddingArgs& args) {
  FORESIGHT_CHECK(args.table != nullptr && !args.table->empty(), "embedding without a table");
  const PackedMatrix& table = *args.table;
  FORESIGHT_CHECK(args.num_rows >= 0 && args.out_stride >= table.num_inputs(),
                  concat("embedding of ", args.num_rows, " rows of ", table.num_inputs(),
                         " into rows of ", args.out_stride));
  for (std::int64_t m = 0; m < args.num_rows; ++m) {
    FORESIGHT_CHECK(args.tokens[m] >= 0 && args.tokens[m] < table.num_outputs(),
                    concat("token ", args.tokens[m], " in a vocabulary of ", table.num_outputs()));
  }
  auto* kernel = context.kernel<EmbeddingKernel>();
  for_each_row_block(context, args.num_rows, table.num_inputs(),
                     [&](std::int64_t begin, std::int64_t end) {
                       kernel({.tokens = args.tokens + begin,
                               .num_rows = end - begin,
                               .panels = table.panel(0),
                               .dtype = table.dtype(),
                               .num_inputs = table.num_inputs(),
                               .panel_elements = table.panel_elements(),
                               .scale = args.scale,
                               .out = args.out + begin * args.out_stride,
                               .out_stride = args.out_stride});
                     });
}

}  // namespace foresight::ops
