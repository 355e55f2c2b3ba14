#include "decode/drafters/prompt_lookup.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "decode/drafters/common_prefix.h"

namespace foresight {

namespace {

constexpr std::int32_t kNone = -1;

// Where each n-gram of one length ends: the latest end of every n-gram in a hash table, and from
// every end the one before it of the same n-gram. Ends come and go like a stack, so a table with
// linear probing needs no marks for what was deleted: the key that goes was the last that came.
class OneLength {
 public:
  explicit OneLength(std::int64_t n) : n_(n), table_(64, kNone) {}

  // The n-gram that ends before `end` (all of tokens[:end] but the last n-gram are pushed).
  void push(std::span<const Token> tokens, std::int64_t end) {
    if (end < n_) {
      before_.push_back(kNone);
      return;
    }
    if (2 * (num_keys_ + 1) > std::ssize(table_)) grow(tokens);
    std::int32_t& slot = table_[find(tokens, end)];
    if (slot == kNone) ++num_keys_;
    before_.push_back(slot);
    slot = static_cast<std::int32_t>(end);
  }

  void pop(std::span<const Token> tokens) {
    const std::int64_t end = std::ssize(before_) - 1;
    if (end >= n_) {
      table_[find(tokens, end)] = before_.back();
      if (before_.back() == kNone) --num_keys_;
    }
    before_.pop_back();
  }

  std::int32_t latest(std::span<const Token> tokens, std::int64_t end) const {
    return end < n_ ? kNone : table_[find(tokens, end)];
  }
  std::int32_t before(std::int32_t end) const { return before_[static_cast<std::size_t>(end)]; }

 private:
  // Slot of the n-gram that ends before `end`, or the empty one where it would go.
  std::size_t find(std::span<const Token> tokens, std::int64_t end) const {
    const Token* const ngram = tokens.data() + (end - n_);
    std::uint64_t hash = 0;
    for (std::int64_t i = 0; i < n_; ++i) hash = mix64(hash, static_cast<std::uint64_t>(ngram[i]));
    const std::size_t mask = table_.size() - 1;
    std::size_t slot = hash & mask;
    while (table_[slot] != kNone &&
           !std::equal(ngram, ngram + n_, tokens.data() + (table_[slot] - n_))) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  // Keys go back in in the order in which they came first.
  void grow(std::span<const Token> tokens) {
    table_.assign(table_.size() * 2, kNone);
    for (std::int64_t end = n_; end < std::ssize(before_); ++end)
      table_[find(tokens, end)] = static_cast<std::int32_t>(end);
  }

  std::int64_t n_;
  std::vector<std::int32_t> table_;
  std::vector<std::int32_t> before_ = {kNone};  // by end; end 0 ends no n-gram
  std::int64_t num_keys_ = 0;
};

}  // namespace

// The n-grams of one branch, each length on its own.
class NgramIndex {
 public:
  NgramIndex(std::int64_t max_ngram, std::int64_t min_ngram) {
    for (std::int64_t n = max_ngram; n >= min_ngram; --n) lengths_.emplace_back(n);
  }

  void update(std::span<const Token> tokens) {
    const std::size_t common = common_prefix(tokens_, tokens);
    while (tokens_.size() > common) {
      for (OneLength& length : lengths_) length.pop(tokens_);
      tokens_.pop_back();
    }
    tokens_.reserve(tokens.size());
    for (const Token token : tokens.subspan(tokens_.size())) {
      tokens_.push_back(token);
      for (OneLength& length : lengths_) length.push(tokens_, std::ssize(tokens_));
    }
  }

  // What followed an earlier occurrence of the last tokens, `wanted` (at least 1) at most.
  std::span<const Token> continuation(std::int64_t wanted) const {
    const std::int64_t size = std::ssize(tokens_);
    for (const OneLength& length : lengths_) {
      std::int32_t best = length.latest(tokens_, size);
      if (best == kNone || length.before(best) == kNone) continue;
      best = length.before(best);
      // At most `wanted` ends lie too near the end of the tokens.
      while (best > size - wanted && length.before(best) != kNone) best = length.before(best);
      return std::span(tokens_)
          .subspan(static_cast<std::size_t>(best))
          .first(static_cast<std::size_t>(std::min(wanted, size - best)));
    }
    return {};
  }

 private:
  std::vector<Token> tokens_;
  std::vector<OneLength> lengths_;  // longest first
};

PromptLookup::PromptLookup(std::int64_t max_ngram, std::int64_t min_ngram)
    : max_ngram_(max_ngram), min_ngram_(min_ngram) {
  if (max_ngram < 1 || max_ngram > kMaxNgram)
    throw ValueError(concat("max_ngram is ", max_ngram, ", expected 1 to ", kMaxNgram));
  if (min_ngram < 1 || min_ngram > max_ngram) {
    throw ValueError(
        concat("min_ngram is ", min_ngram, ", expected 1 to max_ngram, which is ", max_ngram));
  }
}

PromptLookup::~PromptLookup() = default;

void PromptLookup::propose(std::span<DraftTask> tasks) {
  const std::lock_guard guard(mutex_);
  for (DraftTask& task : tasks) {
    task.nodes.clear();
    const std::int64_t wanted = std::min(task.shape.num_tokens, task.shape.depth);
    if (wanted <= 0 || task.shape.width <= 0) continue;
    std::unique_ptr<NgramIndex>& index = indices_[task.branch];
    if (index == nullptr) index = std::make_unique<NgramIndex>(max_ngram_, min_ngram_);
    index->update(task.tokens);
    for (const Token token : index->continuation(wanted)) {
      task.nodes.push_back({.token = token,
                            .parent = static_cast<std::int32_t>(std::ssize(task.nodes)) - 1,
                            .drawn_from = {}});
    }
  }
}

void PromptLookup::forget(std::uint64_t branch) {
  const std::lock_guard guard(mutex_);
  indices_.erase(branch);
}

}  // namespace foresight
