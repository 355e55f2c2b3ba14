// Windows of some texts, counted by going through all of them, and what is guessed by such counts:
// the oracle of the suffix trees.
#pragma once

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "decode/drafters/suffix_draft.h"

namespace foresight::windows {

using Tokens = std::vector<Token>;

inline std::int64_t count(const std::vector<Tokens>& texts, const Tokens& window) {
  std::int64_t sum = 0;
  for (const Tokens& text : texts) {
    for (auto at = text.begin(); text.end() - at >= std::ssize(window); ++at)
      sum += std::equal(window.begin(), window.end(), at) ? 1 : 0;
  }
  return sum;
}

inline Tokens last(const Tokens& tokens, std::int64_t length) {
  return {tokens.end() - length, tokens.end()};
}

inline Tokens plus(Tokens window, Token token) {
  window.push_back(token);
  return window;
}

inline std::set<Token> tokens_of(const std::vector<Tokens>& texts) {
  std::set<Token> all;
  for (const Tokens& text : texts) all.insert(text.begin(), text.end());
  return all;
}

inline std::int64_t count_continued(const std::vector<Tokens>& texts, const Tokens& window) {
  std::int64_t sum = 0;
  for (const Token token : tokens_of(texts)) sum += count(texts, plus(window, token));
  return sum;
}

inline SuffixGuess guess(const std::vector<Tokens>& texts, const Tokens& tokens,
                         const DraftShape& shape, const SuffixRules& rules,
                         std::int64_t max_depth) {
  SuffixGuess result;
  std::int64_t match = std::min<std::int64_t>(max_depth - 1, std::ssize(tokens));
  while (match > 0 && count_continued(texts, last(tokens, match)) == 0) --match;
  result.match_length = match;
  if (match == 0 || shape.num_tokens == 0) return result;
  struct Found {
    double probability;
    Tokens path;    // the match and the guesses up to this one
    Tokens window;  // what the next one is looked up by
    Token token;
    std::int32_t parent;
    std::int64_t depth;
  };
  const std::int64_t depth = std::min(
      shape.depth,
      std::max<std::int64_t>(
          1, static_cast<std::int64_t>(std::floor(rules.max_factor * static_cast<double>(match)))));
  std::vector<Found> waiting;
  const auto expand = [&](const Found& node, std::int32_t index) {
    std::vector<std::pair<std::int64_t, Token>> next;  // count, minus the token
    const auto total = static_cast<double>(count_continued(texts, node.window));
    for (const Token token : tokens_of(texts))
      next.emplace_back(count(texts, plus(node.window, token)), -token);
    std::sort(next.rbegin(), next.rend());
    for (const auto& [times, minus] : next) {
      if (times == 0) break;
      if (static_cast<double>(times) < rules.min_probability / node.probability * total) break;
      Found found{.probability = node.probability * static_cast<double>(times) / total,
                  .path = plus(node.path, -minus),
                  .window = plus(node.window, -minus),
                  .token = -minus,
                  .parent = index,
                  .depth = node.depth + 1};
      if (std::ssize(found.window) == max_depth) found.window = last(found.path, max_depth / 2);
      waiting.push_back(found);
    }
  };
  const Tokens context = last(tokens, match);
  expand({.probability = 1.0,
          .path = context,
          .window = context,
          .token = 0,
          .parent = -1,
          .depth = 0},
         -1);
  std::vector<std::int64_t> used(static_cast<std::size_t>(depth) + 1, 0);
  while (!waiting.empty() && std::ssize(result.nodes) < shape.num_tokens) {
    const auto best = std::max_element(
        waiting.begin(), waiting.end(),
        [](const Found& a, const Found& b) { return a.probability < b.probability; });
    const Found node = *best;
    waiting.erase(best);
    if (used[static_cast<std::size_t>(node.depth)]++ >= shape.width) continue;
    result.nodes.push_back({.token = node.token, .parent = node.parent, .drawn_from = {}});
    result.score += node.probability;
    if (node.depth < depth) expand(node, static_cast<std::int32_t>(std::ssize(result.nodes)) - 1);
  }
  return result;
}

inline std::vector<std::pair<Token, std::int32_t>> pairs(const std::vector<DraftNode>& nodes) {
  std::vector<std::pair<Token, std::int32_t>> result;
  for (const DraftNode& node : nodes) result.emplace_back(node.token, node.parent);
  return result;
}

}  // namespace foresight::windows
