#include "engine/head_contexts.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "cpp/engine/fake_model.h"

namespace foresight {
namespace {

using engine_test::FakeModel;
using Positions = std::vector<std::int32_t>;

std::vector<Token> tokens_up_to(std::int64_t count) {
  std::vector<Token> tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

// A feature holds its position.
std::vector<float> features_of(std::int64_t first, std::int64_t count) {
  std::vector<float> features;
  for (std::int64_t i = 0; i < count * FakeModel::kHidden; ++i)
    features.push_back(static_cast<float>(first + i / FakeModel::kHidden));
  return features;
}

class HeadContextsTest : public testing::Test {
 protected:
  HeadContexts::Entry& show(HeadContexts& contexts, std::uint64_t branch,
                            const std::vector<Token>& tokens, std::int64_t first,
                            std::int64_t count) {
    HeadContexts::Entry& entry = contexts.find(branch, tokens);
    contexts.add(entry, first, count, features_of(first, count).data());
    return entry;
  }
  static void cache(HeadContexts& contexts, HeadContexts::Entry& entry, std::int64_t count) {
    ASSERT_TRUE(contexts.reserve(entry, count));
    contexts.keep_features(entry, count);
  }
  static Positions waiting(const HeadContexts::Entry& entry) {
    return {entry.feature_positions.begin() + static_cast<std::ptrdiff_t>(entry.first_waiting()),
            entry.feature_positions.end()};
  }

  FakeModel model_;
};

TEST_F(HeadContextsTest, FeaturesWaitUntilTheyAreCached) {
  HeadContexts contexts(model_, 16, 1);
  contexts.begin();
  HeadContexts::Entry& entry = show(contexts, 0, tokens_up_to(8), 0, 7);
  EXPECT_EQ(entry.num_waiting(), 7);
  cache(contexts, entry, 5);
  EXPECT_EQ(entry.positions, (Positions{0, 1, 2, 3, 4}));
  EXPECT_EQ(waiting(entry), (Positions{5, 6}));
  // What is known is not taken a second time; what follows it is.
  contexts.add(entry, 3, 6, features_of(3, 6).data());
  EXPECT_EQ(waiting(entry), (Positions{5, 6, 7, 8}));
  EXPECT_EQ(entry.features.back(), 8.0f);
  EXPECT_EQ(entry.features.size(), entry.feature_positions.size() * FakeModel::kHidden);
}

TEST_F(HeadContextsTest, PositionsThatNobodyHasShownAreLeftOut) {
  HeadContexts contexts(model_, 16, 1);
  contexts.begin();
  HeadContexts::Entry& entry = show(contexts, 0, tokens_up_to(30), 3, 2);
  contexts.add(entry, 10, 2, features_of(10, 2).data());
  cache(contexts, entry, 4);
  EXPECT_EQ(entry.positions, (Positions{3, 4, 10, 11}));
}

TEST_F(HeadContextsTest, OtherTokensCutWhatDependsOnThem) {
  for (const std::int64_t look_ahead : {0, 1}) {
    HeadContexts contexts(model_, 16, look_ahead);
    contexts.begin();
    cache(contexts, show(contexts, 0, tokens_up_to(10), 0, 9), 9);
    std::vector<Token> other = tokens_up_to(10);
    other[6] = 99;
    const HeadContexts::Entry& entry = contexts.find(0, other);
    // Slot p depends on the tokens up to p + look_ahead; its feature on those up to p.
    EXPECT_EQ(std::ssize(entry.positions), 6 - look_ahead);
    EXPECT_EQ(std::ssize(waiting(entry)), look_ahead);
    EXPECT_EQ(entry.tokens, other);
  }
}

TEST_F(HeadContextsTest, FeaturesOfLongAgoAreGone) {
  HeadContexts contexts(model_, 64, 1);
  contexts.begin();
  HeadContexts::Entry& entry = show(contexts, 0, tokens_up_to(101), 0, 100);
  cache(contexts, entry, 100);
  EXPECT_LT(entry.feature_positions.size(), 40u);
  contexts.trim(entry, 95);
  EXPECT_EQ(waiting(entry), (Positions{94}));
  contexts.trim(entry, 40);
  EXPECT_EQ(std::ssize(entry.positions), 39);
  EXPECT_TRUE(waiting(entry).empty());
  contexts.trim(entry, 0);
  EXPECT_TRUE(entry.positions.empty());
}

TEST_F(HeadContextsTest, ANewBranchTakesOverTheLongestContext) {
  HeadContexts contexts(model_, 16, 1);
  contexts.begin();
  cache(contexts, show(contexts, 0, tokens_up_to(12), 0, 11), 11);
  std::vector<Token> other = tokens_up_to(12);
  other[4] = 99;
  HeadContexts::Entry& second = show(contexts, 1, other, 0, 11);
  cache(contexts, second, std::ssize(waiting(second)));  // it shares the beginning of the first one
  std::vector<Token> fork = tokens_up_to(9);
  fork.push_back(50);
  const HeadContexts::Entry& entry = contexts.find(2, fork);
  EXPECT_EQ(std::ssize(entry.positions), 8);
  EXPECT_EQ(waiting(entry), (Positions{8}));
  // The pages are shared: the branch it came from may go.
  contexts.forget(0);
  EXPECT_EQ(std::ssize(contexts.find(2, fork).positions), 8);
  EXPECT_TRUE(contexts.find(3, std::vector<Token>{77, 78}).positions.empty());
}

TEST_F(HeadContextsTest, GuessesAreUndone) {
  HeadContexts contexts(model_, 16, 1);
  contexts.begin();
  HeadContexts::Entry& entry = show(contexts, 0, tokens_up_to(6), 0, 5);
  cache(contexts, entry, 5);
  ASSERT_TRUE(contexts.reserve(entry, 1));
  contexts.keep_guess(entry, 5);
  EXPECT_EQ(entry.positions.back(), 5);
  ASSERT_TRUE(contexts.reserve(entry, 2));  // an error strikes here
  contexts.begin();
  EXPECT_EQ(entry.positions, (Positions{0, 1, 2, 3, 4}));
  EXPECT_EQ(entry.num_guesses, 0);
  ASSERT_TRUE(contexts.reserve(entry, 1));
  contexts.drop(entry);
}

TEST_F(HeadContextsTest, WhoIsNotAskedGivesWay) {
  HeadContexts contexts(model_, 4, 1);
  contexts.begin();
  cache(contexts, show(contexts, 0, tokens_up_to(13), 0, 12), 12);
  contexts.begin();
  std::vector<Token> other(13, 5);
  HeadContexts::Entry& entry = show(contexts, 1, other, 0, 12);
  cache(contexts, entry, 12);
  EXPECT_TRUE(contexts.find(0, tokens_up_to(13)).positions.empty());
  // Both are asked now, and there is not room for both.
  HeadContexts::Entry& first = show(contexts, 0, tokens_up_to(13), 0, 12);
  EXPECT_FALSE(contexts.reserve(first, 12));
  EXPECT_EQ(std::ssize(entry.positions), 12);
}

}  // namespace
}  // namespace foresight
