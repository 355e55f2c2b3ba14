// The counts of a suffix tree against those of a search, while sequences grow side by side and the
// oldest go.
#include "decode/drafters/count_tree.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

#include "cpp/decode/windows.h"

namespace foresight {
namespace {

using windows::Tokens;

struct Model {
  Tokens tokens;
  std::optional<std::uint64_t> key;
  bool is_open = true;
};

// All windows that occur, one of each, and some that do not.
std::set<Tokens> some_windows(const std::vector<Tokens>& texts, std::int64_t max_depth) {
  std::set<Tokens> all = {{0}, {1, 0}, {0, 0, 1}};
  for (const Tokens& text : texts) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      for (std::size_t n = 1; n <= static_cast<std::size_t>(max_depth) && i + n <= text.size(); ++n)
        all.insert(Tokens(text.begin() + static_cast<std::ptrdiff_t>(i),
                          text.begin() + static_cast<std::ptrdiff_t>(i + n)));
    }
  }
  std::erase_if(all, [&](const Tokens& window) { return std::ssize(window) > max_depth; });
  return all;
}

void check(const CountTree& tree, CountTree::NodeId root, const std::vector<Tokens>& texts) {
  for (const Tokens& window : some_windows(texts, tree.max_depth())) {
    const std::int64_t times = windows::count(texts, window);
    const CountTree::Place place = tree.find(root, window);
    ASSERT_EQ(static_cast<bool>(place), times > 0);
    if (times == 0) continue;
    ASSERT_EQ(tree.count(place), times);
    std::map<Token, std::int64_t> expected;
    if (std::ssize(window) < tree.max_depth()) {
      for (const Token token : windows::tokens_of(texts)) {
        const std::int64_t next = windows::count(texts, windows::plus(window, token));
        if (next > 0) expected[token] = next;
      }
    }
    std::map<Token, std::int64_t> found;
    std::int64_t before = times;
    std::int64_t sum = 0;
    tree.each_child(place, [&](CountTree::Child child) {
      EXPECT_LE(child.count, before);
      before = child.count;
      sum += child.count;
      found[child.token] = child.count;
      return true;
    });
    ASSERT_EQ(found, expected);
    ASSERT_EQ(tree.count_continued(place), sum);
  }
}

TEST(CountTree, CountsWhatASearchCounts) {
  std::mt19937 random(2);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 40; ++round) {
    const std::size_t alphabet = std::array<std::size_t, 3>{1, 2, 4}[below(3)];
    CountTree tree(static_cast<std::int64_t>(2 + below(6)));
    std::deque<Model> model;
    for (int step = 0; step < 60; ++step) {
      if (model.empty() || below(8) == 0) {
        const auto key = below(2) == 0 ? std::nullopt : std::optional<std::uint64_t>(below(2));
        model.push_back({.tokens = {}, .key = key});
        ASSERT_EQ(tree.start(key), tree.oldest() + model.size() - 1);
      } else if (below(12) == 0) {
        tree.remove_oldest();
        model.pop_front();
      } else {
        const std::size_t i = below(model.size());
        const auto id = static_cast<CountTree::SequenceId>(tree.oldest() + i);
        if (below(20) == 0) {
          tree.finish(id);
          model[i].is_open = false;
        }
        for (std::size_t n = below(6); n > 0 && model[i].is_open; --n) {
          model[i].tokens.push_back(static_cast<Token>(below(alphabet)));
          tree.append(id, model[i].tokens.back());
        }
      }
      std::vector<Tokens> all;
      std::map<std::uint64_t, std::vector<Tokens>> keyed = {{0, {}}, {1, {}}};
      std::int64_t num_tokens = 0;
      for (const Model& sequence : model) {
        all.push_back(sequence.tokens);
        num_tokens += std::ssize(sequence.tokens);
        if (sequence.key) keyed[*sequence.key].push_back(sequence.tokens);
      }
      ASSERT_EQ(tree.num_tokens(), num_tokens);
      ASSERT_LE(tree.num_nodes(), 4 * num_tokens + 3);
      if (step % 4 != 0) continue;
      ASSERT_NO_FATAL_FAILURE(check(tree, CountTree::kAll, all));
      for (const auto& [key, texts] : keyed) {
        const CountTree::NodeId root = tree.root_of(key);
        ASSERT_EQ(root == CountTree::kNoNode, texts.empty());
        if (texts.empty()) continue;
        ASSERT_NO_FATAL_FAILURE(check(tree, root, texts));
      }
    }
    while (tree.num_sequences() > 0) tree.remove_oldest();
    EXPECT_EQ(tree.num_nodes(), 1);
    EXPECT_EQ(tree.num_tokens(), 0);
  }
}

TEST(CountTree, LeavesOutWindowsThatDoNotStart) {
  CountTree tree(3);
  const auto sequence = tree.start();
  for (const Token token : {1, 2, 3}) tree.append(sequence, token);
  for (const Token token : {1, 2}) tree.append(sequence, token, false);
  const auto times = [&](const Tokens& window) {
    const CountTree::Place place = tree.find(CountTree::kAll, window);
    return place ? tree.count(place) : 0;
  };
  EXPECT_EQ(times({1, 2, 3}), 1);
  EXPECT_EQ(times({2, 3, 1}), 1);
  EXPECT_EQ(times({3, 1, 2}), 1);
  EXPECT_EQ(times({1, 2}), 1);  // not the second one
  tree.remove_oldest();
  EXPECT_EQ(tree.num_nodes(), 1);
}

}  // namespace
}  // namespace foresight
