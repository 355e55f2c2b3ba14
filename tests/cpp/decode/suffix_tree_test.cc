// The suffix drafter against counts by search, over branches that are forked, cut and interleaved,
// and under threads.
#include "decode/drafters/suffix_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "core/error.h"
#include "cpp/decode/windows.h"

namespace foresight {
namespace {

using windows::Tokens;

struct Text {
  Tokens tokens;
  std::int64_t prompt_length = 0;
};

std::vector<DraftNode> proposed(SuffixTree& drafter, std::uint64_t branch, const Text& text,
                                const DraftShape& shape) {
  std::vector<DraftTask> tasks(1);
  tasks[0].branch = branch;
  tasks[0].tokens = text.tokens;
  tasks[0].prompt_length = text.prompt_length;
  tasks[0].shape = shape;
  drafter.propose(tasks);
  return tasks[0].nodes;
}

std::uint64_t hash_of_prompt(const Tokens& prompt) {
  SuffixTree alone({});
  alone.add(Tokens{1}, prompt);
  return alone.held().prompts.at(0);
}

std::vector<Tokens> texts_of(const HeldAnswers& held, std::optional<std::uint64_t> prompt) {
  std::vector<Tokens> texts;
  auto at = held.tokens.begin();
  for (std::size_t i = 0; i < held.lengths.size(); ++i) {
    if (!prompt || (*prompt != 0 && *prompt == held.prompts[i]))
      texts.emplace_back(at, at + held.lengths[i]);
    at += held.lengths[i];
  }
  return texts;
}

// The best of the three sources, by search in what is held.
SuffixGuess expected(const SuffixTree& drafter, const Text& text, const DraftShape& shape) {
  const SuffixRules rules{.min_probability = drafter.options().min_probability,
                          .max_factor = drafter.options().max_factor};
  const HeldAnswers held = drafter.held();
  const Tokens prompt(text.tokens.begin(), text.tokens.begin() + text.prompt_length);
  SuffixGuess best;
  for (const std::vector<Tokens>& texts :
       {texts_of(held, hash_of_prompt(prompt)), {text.tokens}, texts_of(held, std::nullopt)}) {
    SuffixGuess guess =
        windows::guess(texts, text.tokens, shape, rules, drafter.options().max_depth);
    if (guess.score > best.score) best = guess;
  }
  return best;
}

DraftShape chain_of(std::int64_t length) { return {.num_tokens = length, .depth = length}; }

TEST(SuffixTree, DraftsFromTheBranchsOwnText) {
  SuffixTree drafter({});
  const Text text{.tokens = {1, 2, 3, 4, 5, 6, 1, 2, 3}, .prompt_length = 4};
  const auto chain = windows::pairs(proposed(drafter, 0, text, chain_of(8)));
  // Three tokens matched: three guesses.
  EXPECT_EQ(chain, (std::vector<std::pair<Token, std::int32_t>>{{4, -1}, {5, 0}, {6, 1}}));
}

TEST(SuffixTree, DraftsFromEarlierAnswersToThePromptFromTheFirstTokenOn) {
  SuffixTree drafter({});
  drafter.add(Tokens{10, 11, 12}, Tokens{1, 2, 3});
  drafter.add(Tokens{20, 21, 22}, Tokens{9, 2, 3});
  drafter.add(Tokens{20, 21, 22}, Tokens{9, 2, 3});
  const auto first = [&](std::uint64_t branch, Tokens prompt) {
    const auto size = std::ssize(prompt);
    return windows::pairs(proposed(
        drafter, branch, {.tokens = std::move(prompt), .prompt_length = size}, chain_of(2)));
  };
  EXPECT_EQ(first(0, {1, 2, 3}), (std::vector<std::pair<Token, std::int32_t>>{{10, -1}, {11, 0}}));
  EXPECT_EQ(first(1, {9, 2, 3}), (std::vector<std::pair<Token, std::int32_t>>{{20, -1}, {21, 0}}));
  // Another prompt that ends alike has all answers, where 20 is more frequent.
  EXPECT_EQ(first(2, {2, 3}), (std::vector<std::pair<Token, std::int32_t>>{{20, -1}, {21, 0}}));
}

TEST(SuffixTree, HoldsEveryAnswerOnceBehindTheEndOfItsPrompt) {
  SuffixTree drafter({.max_depth = 3});
  Text text{.tokens = {1, 2, 3, 4}, .prompt_length = 4};
  proposed(drafter, 7, text, chain_of(2));
  EXPECT_EQ(drafter.num_tokens(), 0);
  for (const Token token : {5, 6, 7}) {
    text.tokens.push_back(token);
    proposed(drafter, 7, text, chain_of(2));
  }
  text.tokens.push_back(8);
  drafter.learn(7, text.tokens, text.prompt_length);
  drafter.forget(7);
  EXPECT_EQ(drafter.held().tokens, (Tokens{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(drafter.held().lengths, (std::vector<std::int64_t>{6}));
  EXPECT_EQ(drafter.held().prompts[0], hash_of_prompt({1, 2, 3, 4}));
}

TEST(SuffixTree, TokensThatChangeAreHeldBehindTheEndOfWhatStayed) {
  SuffixTree drafter({.max_depth = 3});
  for (const Tokens& tokens : {Tokens{1, 2, 3, 4, 5}, Tokens{1, 2, 3, 4}, Tokens{1, 2, 3, 4, 9, 8}})
    proposed(drafter, 0, {.tokens = tokens, .prompt_length = 2}, chain_of(2));
  EXPECT_EQ(drafter.held().tokens, (Tokens{1, 2, 3, 4, 5, 3, 4, 9, 8}));
  EXPECT_EQ(drafter.held().lengths, (std::vector<std::int64_t>{5, 4}));
}

// Branches of few prompts that grow, fork, are cut, changed and forgotten, in a drafter and in one
// that shares its answers.
void run_random(std::mt19937& random, const SuffixTreeOptions& options) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::size_t alphabet = 2 + below(3);
  const auto some = [&](std::size_t n) {
    Tokens tokens(n);
    for (Token& token : tokens) token = static_cast<Token>(below(alphabet));
    return tokens;
  };
  const auto drafter = std::make_shared<SuffixTree>(options);
  const auto second = drafter->share();
  const std::vector<Tokens> prompts = {{}, some(2), some(12)};
  std::vector<Text> branches(4);
  for (int step = 0; step < 60; ++step) {
    const std::size_t i = below(branches.size());
    SuffixTree& mine = i % 2 == 0 ? *drafter : *second;
    Text& text = branches[i];
    const auto output = text.tokens.size() - static_cast<std::size_t>(text.prompt_length);
    switch (below(10)) {
      case 0:
        text.tokens = prompts[below(prompts.size())];
        text.prompt_length = std::ssize(text.tokens);
        break;
      case 1:
        text = branches[below(branches.size())];
        break;
      case 2:
        text.tokens.resize(text.tokens.size() - below(output + 1));
        break;
      case 3:
        if (output > 0) text.tokens.back() = static_cast<Token>(below(alphabet));
        break;
      case 4:
        mine.learn(i, text.tokens, text.prompt_length);
        mine.forget(i);
        break;
      case 5:
        mine.add(some(below(12)), prompts[below(prompts.size())]);
        break;
      default:
        for (std::size_t n = below(8); n > 0; --n)
          text.tokens.push_back(static_cast<Token>(below(alphabet)));
    }
    const auto num_tokens = static_cast<std::int64_t>(below(10));
    const DraftShape shape{.num_tokens = num_tokens,
                           .depth = below(2) == 0 ? num_tokens : std::int64_t{3},
                           .width = static_cast<std::int64_t>(1 + below(3)),
                           .dynamic = below(2) == 0};
    const std::vector<DraftNode> nodes = proposed(mine, i, text, shape);
    ASSERT_EQ(windows::pairs(nodes), windows::pairs(expected(mine, text, shape).nodes));
    ASSERT_LE(drafter->num_tokens(), options.max_tokens);
  }
}

TEST(SuffixTree, GuessesWhatASearchGuesses) {
  std::mt19937 random(3);
  for (int round = 0; round < 30; ++round) {
    run_random(random, {.max_depth = static_cast<std::int64_t>(2 + random() % 6),
                        .min_probability = std::array<double, 3>{0.0, 0.1, 0.4}[random() % 3],
                        .max_factor = std::array<double, 3>{0.5, 1.0, 4.0}[random() % 3]});
  }
}

TEST(SuffixTree, DropsTheOldestAnswersWhenFull) {
  std::mt19937 random(4);
  for (int round = 0; round < 15; ++round)
    run_random(random, {.max_depth = 4, .max_factor = 2.0, .max_tokens = 16 + round});
  SuffixTree drafter({.max_depth = 4, .max_tokens = 16});
  for (Token answer = 1; answer <= 5; ++answer) drafter.add(Tokens(5, answer), {});
  EXPECT_EQ(drafter.held().tokens, (Tokens{3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5}));
  Tokens longer;
  for (Token token = 0; token < 40; ++token) longer.push_back(token);
  drafter.add(longer, {});
  EXPECT_EQ(drafter.held().tokens, Tokens(longer.end() - 16, longer.end()));
}

TEST(SuffixTree, AnswersComeBackAsTheyWere) {
  SuffixTree drafter({.max_depth = 5});
  drafter.add(Tokens{1, 2, 3, 1, 2}, Tokens{4, 5});
  drafter.add(Tokens{3, 1, 2, 9}, {});
  const HeldAnswers held = drafter.held();
  SuffixTree copy({.max_depth = 5});
  copy.add_held(held);
  EXPECT_EQ(copy.held().tokens, held.tokens);
  EXPECT_EQ(copy.held().lengths, held.lengths);
  EXPECT_EQ(copy.held().prompts, held.prompts);

  const auto refused = [](HeldAnswers wrong) {
    SuffixTree tree({.max_depth = 2, .max_tokens = 8});
    EXPECT_THROW(tree.add_held(wrong), ValueError);
    EXPECT_EQ(tree.num_tokens(), 0);
  };
  refused({.tokens = {1, 2}, .lengths = {1}, .prompts = {0}});
  refused({.tokens = {1, 2}, .lengths = {3}, .prompts = {0}});
  refused({.tokens = {1, 2}, .lengths = {2, 0}, .prompts = {0, 0}});
  refused({.tokens = {1, 2}, .lengths = {3, -1}, .prompts = {0, 0}});
  refused({.tokens = {1, 2}, .lengths = {2}, .prompts = {}});
  refused({.tokens = {1, -2}, .lengths = {2}, .prompts = {0}});
  refused({.tokens = Tokens(9, 1), .lengths = {9}, .prompts = {0}});
}

TEST(SuffixTree, RefusesOptionsOutOfRange) {
  const double nan = std::nan("");
  EXPECT_THROW(SuffixTree({.max_depth = 1}), ValueError);
  EXPECT_THROW(SuffixTree({.max_depth = 257}), ValueError);
  EXPECT_THROW(SuffixTree({.min_probability = -0.1}), ValueError);
  EXPECT_THROW(SuffixTree({.min_probability = 1.1}), ValueError);
  EXPECT_THROW(SuffixTree({.min_probability = nan}), ValueError);
  EXPECT_THROW(SuffixTree({.max_factor = 0.0}), ValueError);
  EXPECT_THROW(SuffixTree({.max_factor = nan}), ValueError);
  EXPECT_THROW(SuffixTree({.max_tokens = 95}), ValueError);
  EXPECT_THROW(SuffixTree({.max_tokens = 1'000'000'001}), ValueError);
}

TEST(SuffixTreeThreads, SeveralJobsShareTheAnswers) {
  constexpr int kThreads = 4;
  const auto common = std::make_shared<SuffixTree>(
      SuffixTreeOptions{.max_depth = 8, .max_factor = 2.0, .max_tokens = 600});
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      // Two threads use one object.
      const auto drafter = t < 2 ? common : common->share();
      for (int step = 0; step < 300; ++step) {
        const auto branch = static_cast<std::uint64_t>(t * 100 + step / 10);
        Text text{.tokens = {1, 2, 3}, .prompt_length = 3};
        for (int i = 0; i < step % 10 * 3; ++i)
          text.tokens.push_back(static_cast<Token>((i * i + step / 100) % 7));
        proposed(*drafter, branch, text, {.num_tokens = 6, .depth = 4, .width = 2});
        if (step % 10 == 9) {
          drafter->learn(branch, text.tokens, text.prompt_length);
          drafter->forget(branch);
        }
        if (random() % 20 == 0) drafter->add(Tokens{4, 5, 6}, Tokens{1, 2, 3});
        if (random() % 50 == 0) {
          EXPECT_LE(drafter->num_tokens(), 600);
          EXPECT_LE(std::ssize(drafter->held().tokens), 600);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(common->num_tokens(), 0);
  const Text text{.tokens = {1, 2, 3, 0, 1, 4}, .prompt_length = 3};
  const DraftShape shape = chain_of(6);
  const auto nodes = windows::pairs(proposed(*common, 9999, text, shape));
  EXPECT_EQ(nodes, windows::pairs(expected(*common, text, shape).nodes));
}

}  // namespace
}  // namespace foresight
