#include "decode/drafters/suffix_draft.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>

namespace foresight {

namespace {

using Place = CountTree::Place;
using Places = std::array<Place, SuffixSource::kMost>;

struct Continuation {
  Token token = 0;
  std::int64_t count = 0;
};

// Two trees read as one.
class Union {
 public:
  explicit Union(const SuffixSources& sources) : sources_(sources) {
    for (const SuffixSource& source : sources_) {
      if (source.tree != nullptr) max_depth_ = source.tree->max_depth();
    }
  }

  std::int64_t max_depth() const { return max_depth_; }

  Places find(std::span<const Token> window) const {
    Places places;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (sources_[i].tree != nullptr) places[i] = sources_[i].tree->find(sources_[i].root, window);
    }
    return places;
  }

  Places step(Places places, Token token) const {
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i]) places[i] = sources_[i].tree->step(places[i], token);
    }
    return places;
  }

  std::int64_t count(const Places& places) const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i]) sum += sources_[i].tree->count(places[i]);
    }
    return sum;
  }

  std::int64_t count_continued(const Places& places) const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i]) sum += sources_[i].tree->count_continued(places[i]);
    }
    return sum;
  }

  // The tokens that follow at least `least` times, most frequent first.
  std::vector<Continuation> continuations(const Places& places, double least) const {
    std::vector<Continuation> found;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (!places[i]) continue;
      sources_[i].tree->each_child(places[i], [&](CountTree::Child child) {
        // One tree at least holds its part of them.
        const bool is_enough = static_cast<double>(child.count) * SuffixSource::kMost >= least;
        if (is_enough) found.push_back({.token = child.token, .count = 0});
        return is_enough;
      });
    }
    std::ranges::sort(found, {}, &Continuation::token);
    const auto same = std::ranges::unique(found, {}, &Continuation::token);
    found.erase(same.begin(), same.end());
    for (Continuation& next : found) next.count = count(step(places, next.token));
    std::erase_if(
        found, [&](const Continuation& next) { return static_cast<double>(next.count) < least; });
    std::ranges::stable_sort(found, std::ranges::greater{}, &Continuation::count);
    return found;
  }

 private:
  SuffixSources sources_;
  std::int64_t max_depth_ = 0;
};

// A node that may be proposed; its token is not passed yet.
struct Candidate {
  double probability = 1.0;
  std::int64_t order = 0;  // of discovery
  Places before;
  std::int64_t window = 0;  // tokens passed below the roots
  Token token = 0;
  std::int32_t parent = -1;
  std::int64_t depth = 1;
};

struct IsLessProbable {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.probability != b.probability ? a.probability < b.probability : a.order > b.order;
  }
};

// The longest end of the tokens that occurs and goes on. What is true of a window is true of its
// ends, so halving finds it.
std::int64_t longest_match(const Union& trees, std::span<const Token> tokens) {
  std::int64_t low = 0;
  std::int64_t high = std::min<std::int64_t>(trees.max_depth() - 1, std::ssize(tokens));
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    const bool goes_on =
        trees.count_continued(trees.find(tokens.last(static_cast<std::size_t>(middle)))) > 0;
    (goes_on ? low : high) = goes_on ? middle : middle - 1;
  }
  return low;
}

class Grower {
 public:
  Grower(const Union& trees, std::span<const Token> context, const DraftShape& shape,
         const SuffixRules& rules, SuffixGuess& guess)
      : trees_(trees), context_(context), shape_(shape), rules_(rules), guess_(guess) {}

  void grow() {
    const double reach = std::floor(rules_.max_factor * static_cast<double>(std::ssize(context_)));
    depth_ = std::min(
        {shape_.depth, shape_.num_tokens, static_cast<std::int64_t>(std::clamp(reach, 1.0, 1e9))});
    expand({.before = trees_.find(context_), .window = std::ssize(context_), .depth = 0}, -1);
    while (!waiting_.empty() && std::ssize(guess_.nodes) < shape_.num_tokens) {
      Candidate best = waiting_.top();
      waiting_.pop();
      std::int64_t& used = used_[static_cast<std::size_t>(best.depth - 1)];
      if (used == shape_.width) continue;
      ++used;
      const auto index = static_cast<std::int32_t>(guess_.nodes.size());
      guess_.nodes.push_back({.token = best.token, .parent = best.parent, .drawn_from = {}});
      guess_.score += best.probability;
      if (best.depth == depth_) continue;
      best.before = trees_.step(best.before, best.token);
      if (++best.window == trees_.max_depth()) {
        const std::vector<Token> end = path_end(index, trees_.max_depth() / 2);
        best.before = trees_.find(end);
        best.window = std::ssize(end);
      }
      expand(best, index);
    }
  }

 private:
  // Adds what may follow `node`, all of whose tokens are passed.
  void expand(const Candidate& node, std::int32_t index) {
    const auto total = static_cast<double>(trees_.count_continued(node.before));
    if (total == 0.0) return;
    const double least = rules_.min_probability / node.probability * total;
    if (std::ssize(used_) == node.depth) used_.push_back(0);
    std::int64_t left = shape_.width - used_[static_cast<std::size_t>(node.depth)];
    for (const Continuation& next : trees_.continuations(node.before, least)) {
      if (left-- == 0) return;
      waiting_.push({.probability = node.probability * static_cast<double>(next.count) / total,
                     .order = num_found_++,
                     .before = node.before,
                     .window = node.window,
                     .token = next.token,
                     .parent = index,
                     .depth = node.depth + 1});
    }
  }

  // The last tokens on the way to a node, the matched ones included.
  std::vector<Token> path_end(std::int32_t index, std::int64_t length) const {
    std::vector<Token> end;
    for (; index >= 0 && std::ssize(end) < length;
         index = guess_.nodes[static_cast<std::size_t>(index)].parent)
      end.push_back(guess_.nodes[static_cast<std::size_t>(index)].token);
    for (auto token = context_.rbegin(); token != context_.rend() && std::ssize(end) < length;
         ++token)
      end.push_back(*token);
    std::ranges::reverse(end);
    return end;
  }

  const Union& trees_;
  std::span<const Token> context_;
  const DraftShape& shape_;
  const SuffixRules& rules_;
  SuffixGuess& guess_;
  std::int64_t depth_ = 0;
  std::vector<std::int64_t> used_;  // nodes by depth
  std::priority_queue<Candidate, std::vector<Candidate>, IsLessProbable> waiting_;
  std::int64_t num_found_ = 0;
};

}  // namespace

SuffixGuess guess_from(const SuffixSources& sources, std::span<const Token> tokens,
                       const DraftShape& shape, const SuffixRules& rules) {
  SuffixGuess guess;
  if (std::min({shape.num_tokens, shape.depth, shape.width}) <= 0) return guess;
  const Union trees(sources);
  guess.match_length = longest_match(trees, tokens);
  if (guess.match_length == 0) return guess;
  const auto context = tokens.last(static_cast<std::size_t>(guess.match_length));
  Grower(trees, context, shape, rules, guess).grow();
  return guess;
}

}  // namespace foresight
