#include "decode/tree_growth.h"

#include <algorithm>
#include <numeric>

namespace foresight {

void TreeGrowth::add(std::int32_t parent, std::span<const TopEntry> continuations) {
  const double before = parent < 0 ? 0.0 : nodes_[static_cast<std::size_t>(parent)].logprob;
  const std::int64_t depth = parent < 0 ? 1 : nodes_[static_cast<std::size_t>(parent)].depth + 1;
  for (const TopEntry& entry : continuations) {
    nodes_.push_back({.token = entry.token,
                      .parent = parent,
                      .logprob = before + static_cast<double>(entry.logprob),
                      .depth = depth});
  }
}

std::vector<std::int32_t> TreeGrowth::next_level() {
  std::vector<std::int32_t> level(nodes_.size() - level_begin_);
  std::iota(level.begin(), level.end(), static_cast<std::int32_t>(level_begin_));
  level_begin_ = nodes_.size();
  ++depth_;
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const double left = nodes_[static_cast<std::size_t>(a)].logprob;
    const double right = nodes_[static_cast<std::size_t>(b)].logprob;
    return left != right ? left > right : a < b;
  };
  std::sort(level.begin(), level.end(), better);
  const auto room = std::min(
      shape_.width, shape_.dynamic ? shape_.width : shape_.num_tokens - std::ssize(grown_));
  if (std::ssize(level) > room)
    level.resize(static_cast<std::size_t>(std::max<std::int64_t>(room, 0)));
  for (const std::int32_t index : level) {
    Node& node = nodes_[static_cast<std::size_t>(index)];
    node.grown = static_cast<std::int32_t>(grown_.size());
    grown_.push_back(
        {.token = node.token,
         .parent = node.parent < 0 ? -1 : nodes_[static_cast<std::size_t>(node.parent)].grown,
         .drawn_from = nullptr});
  }
  if (depth_ >= shape_.depth) level.clear();
  return level;
}

std::vector<Token> TreeGrowth::path(std::int32_t node) const {
  std::vector<Token> tokens;
  for (; node >= 0; node = nodes_[static_cast<std::size_t>(node)].parent)
    tokens.push_back(nodes_[static_cast<std::size_t>(node)].token);
  std::reverse(tokens.begin(), tokens.end());
  return tokens;
}

std::vector<DraftNode> TreeGrowth::result() const {
  if (!shape_.dynamic) return grown_;
  // A child is never likelier than its parent and comes after it: the best ones form a tree.
  std::vector<std::int32_t> best(nodes_.size());
  std::iota(best.begin(), best.end(), 0);
  std::stable_sort(best.begin(), best.end(), [&](std::int32_t a, std::int32_t b) {
    return nodes_[static_cast<std::size_t>(a)].logprob >
           nodes_[static_cast<std::size_t>(b)].logprob;
  });
  if (std::ssize(best) > shape_.num_tokens)
    best.resize(static_cast<std::size_t>(shape_.num_tokens));
  std::vector<std::int32_t> place(nodes_.size(), -1);
  std::vector<DraftNode> result;
  for (const std::int32_t index : best) {
    const Node& node = nodes_[static_cast<std::size_t>(index)];
    place[static_cast<std::size_t>(index)] = static_cast<std::int32_t>(result.size());
    result.push_back({.token = node.token,
                      .parent = node.parent < 0 ? -1 : place[static_cast<std::size_t>(node.parent)],
                      .drawn_from = nullptr});
  }
  return result;
}

}  // namespace foresight
