// Growing a tree of certain guesses level by level, as EAGLE-2 does (arXiv 2406.16858): the
// likeliest nodes of a level, by the product of probabilities on their path, are expanded into the
// next one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/drafter.h"
#include "rows/rows.h"

namespace foresight {

class TreeGrowth {
 public:
  explicit TreeGrowth(const DraftShape& shape) : shape_(shape) {}

  // The likeliest continuations of a node (-1: the root), best first, with log-probabilities.
  void add(std::int32_t parent, std::span<const TopEntry> continuations);
  // Ends a level: chooses up to `width` of what was added since the last call to be expanded next,
  // parents before children, best first. Empty when the tree is as deep as wanted.
  std::vector<std::int32_t> next_level();

  // The nodes grown so far that lead to a level's chosen ones, with parents among themselves:
  // what a model must see to expand the level. index_of(node): its place there.
  const std::vector<DraftNode>& grown() const { return grown_; }
  std::int32_t grown_index(std::int32_t node) const {
    return nodes_[static_cast<std::size_t>(node)].grown;
  }
  // Tokens on the path to a node, itself last.
  std::vector<Token> path(std::int32_t node) const;

  // The finished tree: the chosen nodes, or with `dynamic` the num_tokens likeliest of all.
  std::vector<DraftNode> result() const;

 private:
  struct Node {
    Token token = 0;
    std::int32_t parent = -1;  // among nodes_
    std::int32_t grown = -1;   // among grown_; -1: not chosen
    double logprob = 0.0;      // of the whole path
    std::int64_t depth = 1;
  };

  DraftShape shape_;
  std::vector<Node> nodes_;
  std::vector<DraftNode> grown_;
  std::size_t level_begin_ = 0;  // nodes of the level that is being added
  std::int64_t depth_ = 0;
};

}  // namespace foresight
