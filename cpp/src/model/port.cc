#include "model/port.h"

#include "core/error.h"

namespace foresight {

void ForwardBatch::clear() {
  segments.clear();
  tokens.clear();
  positions.clear();
  ranks.clear();
  limits.clear();
  adapter.clear();
  features = nullptr;
  logit_rows.clear();
  hidden_rows.clear();
  hidden_layers.clear();
}

std::unique_ptr<ModelPort> ModelPort::share(const CpuContext&, std::int64_t) const {
  throw NotImplementedError("the weights of this model cannot be shared with another one");
}

TokenMatrices ModelPort::token_matrices() const {
  throw NotImplementedError("the embedding of this model cannot be shared with a draft head");
}

}  // namespace foresight
