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

void ForwardBatch::add_row(Token token, std::int64_t position, std::int32_t rank,
                           std::int32_t limit, bool through_adapter) {
  tokens.push_back(token);
  positions.push_back(static_cast<std::int32_t>(position));
  ranks.push_back(rank);
  limits.push_back(limit);
  adapter.push_back(through_adapter ? 1 : 0);
}

std::unique_ptr<ModelPort> ModelPort::share(const CpuContext&, std::int64_t) const {
  throw NotImplementedError("the weights of this model cannot be shared with another one");
}

TokenMatrices ModelPort::token_matrices() const {
  throw NotImplementedError("the embedding of this model cannot be shared with a draft head");
}

}  // namespace foresight
