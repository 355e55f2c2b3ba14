// Trees of guesses: their bit-sets against the definition, and how they grow.
#include "decode/draft_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/rng.h"
#include "decode/tree_growth.h"

namespace foresight {
namespace {

std::vector<DraftNode> random_tree(std::uint64_t seed, std::size_t size) {
  std::vector<DraftNode> nodes;
  for (std::size_t i = 0; i < size; ++i) {
    const auto parent =
        static_cast<std::int32_t>(uniform({.seed = seed}, i, 0) * static_cast<double>(i + 1));
    nodes.push_back({.token = static_cast<Token>(i), .parent = parent - 1, .drawn_from = nullptr});
  }
  return nodes;
}

TEST(DraftTree, RowsSeeTheirAncestorsAndTheRoot) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::vector<DraftNode> nodes = random_tree(seed, 1 + seed * 3);
    for (const std::size_t roots : {std::size_t{0}, std::size_t{1}}) {
      const std::size_t rows = nodes.size() + roots;
      const std::size_t words = (rows + 63) / 64;
      const auto bits = ancestors_of(nodes, roots);
      ASSERT_EQ(bits.size(), rows * words);
      const auto sees = [&](std::size_t row, std::size_t other) {
        return ((bits[row * words + other / 64] >> (other % 64)) & 1u) != 0;
      };
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        std::vector<bool> wanted(rows, false);
        if (roots == 1) wanted[0] = true;
        for (auto n = static_cast<std::int32_t>(i); n >= 0;
             n = nodes[static_cast<std::size_t>(n)].parent)
          wanted[static_cast<std::size_t>(n) + roots] = true;
        for (std::size_t other = 0; other < rows; ++other)
          EXPECT_EQ(sees(i + roots, other), wanted[other]) << seed << " " << i << " " << other;
      }
    }
  }
}

TEST(DraftTree, KnowsChains) {
  std::vector<DraftNode> nodes(3);
  for (std::int32_t i = 0; i < 3; ++i) nodes[static_cast<std::size_t>(i)].parent = i - 1;
  EXPECT_TRUE(is_chain(nodes));
  EXPECT_EQ(depths_of(nodes), (std::vector<std::int64_t>{1, 2, 3}));
  nodes[2].parent = 0;
  EXPECT_FALSE(is_chain(nodes));
  EXPECT_EQ(depths_of(nodes), (std::vector<std::int64_t>{1, 2, 2}));
  EXPECT_TRUE(is_chain({}));
}

std::vector<TopEntry> continuations(std::uint64_t seed, std::int32_t node, std::int64_t count) {
  std::vector<TopEntry> top;
  for (std::int64_t i = 0; i < count; ++i) {
    const double u = uniform({.seed = seed}, static_cast<std::uint64_t>(node + 1), 8u + i);
    top.push_back({.token = static_cast<Token>(i), .logprob = static_cast<float>(-3.0 * u - i)});
  }
  return top;
}

TEST(TreeGrowth, KeepsTheLikeliestWithinItsShape) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    for (const bool dynamic : {false, true}) {
      const DraftShape shape{
          .num_tokens = dynamic ? 10 : 12, .depth = 4, .width = 3, .dynamic = dynamic};
      TreeGrowth growth(shape);
      std::vector<std::int32_t> level{-1};
      std::map<std::vector<Token>, double> known;  // log-probability of every path that was added
      while (!level.empty()) {
        for (const std::int32_t node : level) {
          const auto top = continuations(seed, node, shape.width);
          const std::vector<Token> path = growth.path(node);
          for (const TopEntry& entry : top) {
            std::vector<Token> longer = path;
            longer.push_back(entry.token);
            known[longer] = (path.empty() ? 0.0 : known[path]) + static_cast<double>(entry.logprob);
          }
          growth.add(node, top);
        }
        level = growth.next_level();
      }
      const std::vector<DraftNode> nodes = growth.result();
      ASSERT_LE(std::ssize(nodes), shape.num_tokens);
      std::vector<double> kept;
      std::map<std::int64_t, int> per_depth;
      std::vector<std::vector<Token>> paths;
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        ASSERT_LT(nodes[i].parent, static_cast<std::int32_t>(i));
        std::vector<Token> path;
        if (nodes[i].parent >= 0) path = paths[static_cast<std::size_t>(nodes[i].parent)];
        path.push_back(nodes[i].token);
        ASSERT_TRUE(known.contains(path));
        kept.push_back(known[path]);
        ++per_depth[std::ssize(path)];
        paths.push_back(path);
      }
      EXPECT_LE(per_depth.rbegin()->first, shape.depth);
      if (!dynamic) {
        for (const auto& [depth, count] : per_depth) EXPECT_LE(count, shape.width);
        continue;
      }
      std::vector<double> all;
      for (const auto& [path, logprob] : known) all.push_back(logprob);
      std::sort(all.rbegin(), all.rend());
      std::sort(kept.rbegin(), kept.rend());
      all.resize(kept.size());
      for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_NEAR(kept[i], all[i], 1e-5);
    }
  }
}

}  // namespace
}  // namespace foresight
