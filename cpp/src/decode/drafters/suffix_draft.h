// What most likely follows some tokens, by the counts of suffix trees (SuffixDecoding, Oliaro et
// al., arXiv 2411.04975).
#pragma once

#include <array>
#include <span>
#include <vector>

#include "decode/drafter.h"
#include "decode/drafters/count_tree.h"

namespace foresight {

// Windows that are counted together: those below the roots of up to two trees of the same depth.
struct SuffixSource {
  static constexpr std::size_t kMost = 2;

  const CountTree* tree = nullptr;  // null: nothing
  CountTree::NodeId root = CountTree::kAll;
};
using SuffixSources = std::array<SuffixSource, SuffixSource::kMost>;

struct SuffixRules {
  double min_probability = 0.1;  // of a node's whole path
  double max_factor = 1.0;       // guesses in a row for each token matched
};

struct SuffixGuess {
  std::vector<DraftNode> nodes;
  double score = 0.0;  // sum of the nodes' probabilities: the tokens expected to be accepted
  std::int64_t match_length = 0;
};

// Finds the longest end of `tokens`, below the trees' depth, that occurs with a token after it, and
// grows a tree from there, the most probable node first. A token's probability is its share among
// the occurrences that go on; a node's is the product along its path. Nodes get at most
// max(1, floor(max_factor * match_length)) deep. A path that reaches the trees' depth goes on from
// the last half of it. Equally probable siblings: the lower token id first.
SuffixGuess guess_from(const SuffixSources& sources, std::span<const Token> tokens,
                       const DraftShape& shape, const SuffixRules& rules);

}  // namespace foresight
