#include "decode/drafters/random_tokens.h"

#include <algorithm>

#include "sample/draws.h"

namespace foresight {

void RandomTokens::propose(std::span<DraftTask> tasks) {
  for (DraftTask& task : tasks) {
    const std::int64_t count = std::min(task.shape.depth, task.shape.num_tokens);
    for (std::int64_t i = 1; i <= count; ++i) {
      const std::uint64_t position = task.tokens.size() + static_cast<std::uint64_t>(i) - 1;
      const double u = uniform(task.key, position, draft_draw(i) + kDraftDraw);
      task.nodes.push_back({.token = static_cast<Token>(u * static_cast<double>(vocab_size_)),
                            .parent = static_cast<std::int32_t>(i) - 2,
                            .drawn_from = nullptr});
    }
  }
}

}  // namespace foresight
