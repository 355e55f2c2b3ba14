#include "decode/draft_tree.h"

namespace foresight {

std::vector<std::int64_t> depths_of(std::span<const DraftNode> nodes) {
  std::vector<std::int64_t> depths;
  depths.reserve(nodes.size());
  for (const DraftNode& node : nodes)
    depths.push_back(node.parent < 0 ? 1 : depths[static_cast<std::size_t>(node.parent)] + 1);
  return depths;
}

bool is_chain(std::span<const DraftNode> nodes) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].parent != static_cast<std::int32_t>(i) - 1) return false;
  }
  return true;
}

std::vector<std::uint64_t> ancestors_of(std::span<const DraftNode> nodes, std::size_t roots) {
  const std::size_t num_rows = roots + nodes.size();
  const std::size_t words = (num_rows + 63) / 64;
  std::vector<std::uint64_t> bits(num_rows * words, 0);
  const auto set = [&](std::size_t row, std::size_t bit) {
    bits[row * words + bit / 64] |= std::uint64_t{1} << bit % 64;
  };
  for (std::size_t row = 0; row < num_rows; ++row) {
    const std::int32_t parent = row < roots ? -1 : nodes[row - roots].parent;
    if (parent >= 0) {
      const std::size_t above = (roots + static_cast<std::size_t>(parent)) * words;
      for (std::size_t w = 0; w < words; ++w) bits[row * words + w] = bits[above + w];
    } else if (roots > 0) {
      set(row, 0);
    }
    set(row, row);
  }
  return bits;
}

}  // namespace foresight
