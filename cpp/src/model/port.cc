#include "model/port.h"

namespace foresight {

void ForwardBatch::clear() {
  segments.clear();
  tokens.clear();
  positions.clear();
  ranks.clear();
  limits.clear();
  adapter.clear();
  logit_rows.clear();
  hidden_rows.clear();
  hidden_layers.clear();
}

}  // namespace foresight
