// Packs the segments of a step's work items into one ragged forward batch.
#pragma once

#include <vector>

#include "cache/cache.h"
#include "engine/work_item.h"
#include "model/port.h"

namespace foresight {

// Appends the item's rows to the batch and sets first_row and ancestors of its segments. The cache
// must have reserved the rows. Spans in the batch point into `item` and `cache`.
void pack(WorkItem& item, const ModelConfig& config, const Cache& cache, ForwardBatch& batch);

}  // namespace foresight
