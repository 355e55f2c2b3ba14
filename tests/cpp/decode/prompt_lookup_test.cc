// Prompt lookup against a search of the whole text, whatever happens to the branches.
#include "decode/drafters/prompt_lookup.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "core/error.h"

namespace foresight {
namespace {

using Tokens = std::vector<Token>;

Tokens expected(const Tokens& tokens, std::int64_t max_ngram, std::int64_t min_ngram,
                std::int64_t wanted) {
  const std::int64_t size = std::ssize(tokens);
  for (std::int64_t n = std::min(max_ngram, size); n >= min_ngram; --n) {
    Tokens best;
    for (std::int64_t end = size - 1; end >= n; --end) {
      if (!std::equal(tokens.end() - n, tokens.end(), tokens.begin() + (end - n))) continue;
      const Tokens next(tokens.begin() + end, tokens.begin() + std::min(size, end + wanted));
      if (next.size() > best.size()) best = next;
    }
    if (!best.empty()) return best;
  }
  return {};
}

Tokens proposed(PromptLookup& drafter, std::uint64_t branch, const Tokens& tokens,
                const DraftShape& shape) {
  std::vector<DraftTask> tasks(1);
  tasks[0].branch = branch;
  tasks[0].tokens = tokens;
  tasks[0].shape = shape;
  drafter.propose(tasks);
  Tokens chain;
  for (const DraftNode& node : tasks[0].nodes) {
    EXPECT_EQ(node.parent, std::ssize(chain) - 1);
    EXPECT_EQ(node.drawn_from, nullptr);
    chain.push_back(node.token);
  }
  return chain;
}

DraftShape chain_of(std::int64_t length) { return {.num_tokens = length, .depth = length}; }

TEST(PromptLookup, ProposesWhatFollowedTheLongestNgram) {
  PromptLookup drafter(3, 1);
  // 1 2 3 was followed by 4 5; the nearer 3 alone by 9.
  EXPECT_EQ(proposed(drafter, 0, {1, 2, 3, 4, 5, 3, 9, 1, 2, 3}, chain_of(2)), (Tokens{4, 5}));
  // Nothing repeats.
  EXPECT_EQ(proposed(drafter, 0, {1, 2, 3, 4}, chain_of(2)), Tokens{});
  EXPECT_EQ(proposed(drafter, 0, {}, chain_of(2)), Tokens{});
}

TEST(PromptLookup, TakesTheLatestOccurrenceThatIsFollowedByEnough) {
  PromptLookup drafter(1, 1);
  const Tokens tokens = {7, 1, 2, 3, 7, 4, 5, 6, 7};
  EXPECT_EQ(proposed(drafter, 0, tokens, chain_of(3)), (Tokens{4, 5, 6}));
  // The nearer one has but four tokens behind it.
  EXPECT_EQ(proposed(drafter, 0, tokens, chain_of(5)), (Tokens{1, 2, 3, 7, 4}));
  EXPECT_EQ(proposed(drafter, 0, tokens, chain_of(100)), (Tokens{1, 2, 3, 7, 4, 5, 6, 7}));
}

TEST(PromptLookup, ServesATreeWithAChain) {
  PromptLookup drafter(2, 1);
  const Tokens tokens = {1, 2, 3, 4, 1, 2};
  EXPECT_EQ(proposed(drafter, 0, tokens, {.num_tokens = 8, .depth = 2, .width = 4}),
            (Tokens{3, 4}));
  EXPECT_EQ(proposed(drafter, 0, tokens, {.num_tokens = 0, .depth = 2}), Tokens{});
  EXPECT_EQ(proposed(drafter, 0, tokens, {.num_tokens = 2, .depth = 0}), Tokens{});
}

TEST(PromptLookup, FindsWhatASearchFinds) {
  std::mt19937 random(1);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 60; ++round) {
    const auto max_ngram = static_cast<std::int64_t>(1 + below(5));
    const std::int64_t min_ngram = 1 + static_cast<std::int64_t>(below(5)) % max_ngram;
    const std::size_t alphabet = std::array<std::size_t, 4>{2, 3, 8, 500}[below(4)];
    PromptLookup drafter(max_ngram, min_ngram);
    std::vector<Tokens> branches(4);
    for (int step = 0; step < 150; ++step) {
      const std::size_t i = below(branches.size());
      Tokens& tokens = branches[i];
      switch (below(8)) {
        case 0:
          tokens.resize(tokens.size() - below(tokens.size() + 1));
          break;
        case 1:
          tokens = branches[below(branches.size())];
          break;
        case 2:
          drafter.forget(i);
          break;
        case 3:
          if (!tokens.empty()) tokens[below(tokens.size())] = static_cast<Token>(below(alphabet));
          break;
        default:
          for (std::size_t n = below(30); n > 0; --n)
            tokens.push_back(static_cast<Token>(below(alphabet)));
      }
      const auto wanted = static_cast<std::int64_t>(1 + below(12));
      ASSERT_EQ(proposed(drafter, i, tokens, chain_of(wanted)),
                expected(tokens, max_ngram, min_ngram, wanted));
    }
  }
}

TEST(PromptLookup, RefusesLengthsOutOfRange) {
  EXPECT_THROW(PromptLookup(0, 1), ValueError);
  EXPECT_THROW(PromptLookup(33, 1), ValueError);
  EXPECT_THROW(PromptLookup(3, 0), ValueError);
  EXPECT_THROW(PromptLookup(3, 4), ValueError);
}

}  // namespace
}  // namespace foresight
