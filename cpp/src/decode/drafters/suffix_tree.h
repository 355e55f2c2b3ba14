// SuffixDecoding (arXiv 2411.04975): guesses from what a branch's own text, and the answers to this
// prompt and to all others, had after the same tokens. No model, no weights.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "decode/drafter.h"
#include "decode/drafters/suffix_draft.h"

namespace foresight {

struct SuffixTreeOptions {
  std::int64_t max_depth = 24;  // of the trees: tokens matched and, before it starts anew, guessed
  double min_probability = 0.1;
  double max_factor = 1.0;
  std::int64_t max_tokens = 10'000'000;  // of answers held, the few prompt tokens before each too
};

// The answers held, as flat arrays. Each sequence is an answer behind the last tokens of its
// prompt.
struct HeldAnswers {
  std::vector<Token> tokens;
  std::vector<std::int64_t> lengths;   // of the sequences, oldest first; their sum is tokens.size()
  std::vector<std::uint64_t> prompts;  // a hash of each one's whole prompt; 0: none
};

// Three sources are asked: the answers to the same prompt, the branch's own prompt and output, and
// all answers. Whose guesses are expected to have most tokens accepted wins; of equals the first
// named. Answers are known from their first tokens on, while they are written.
//
// When more than max_tokens are held the oldest answers are dropped, whole. A token held takes
// about 200 bytes, fewer where much repeats. The answers are shared by all objects that share()
// made of each other, what is kept per branch is each one's own: one object serves one engine.
// Thread safe.
class SuffixTree final : public Drafter {
 public:
  // Throws ValueError for options out of range.
  explicit SuffixTree(const SuffixTreeOptions& options);
  ~SuffixTree() override;

  // Another drafter over the same answers.
  std::shared_ptr<SuffixTree> share() const;

  void propose(std::span<DraftTask> tasks) override;
  void learn(std::uint64_t branch, std::span<const Token> tokens,
             std::int64_t prompt_length) override;
  void forget(std::uint64_t branch) override;

  // A finished answer, of which the last max_tokens are held. Throws ValueError for negative
  // tokens.
  void add(std::span<const Token> tokens, std::span<const Token> prompt);
  std::int64_t num_tokens() const;

  HeldAnswers held() const;
  // Adds what held() returned. Throws ValueError when it cannot have.
  void add_held(const HeldAnswers& answers);

  const SuffixTreeOptions& options() const { return options_; }

 private:
  struct Answers;
  struct Prompt;
  struct Branch;

  SuffixTree(const SuffixTreeOptions& options, std::shared_ptr<Answers> answers);
  Branch& updated(std::uint64_t branch, std::span<const Token> tokens, std::int64_t prompt_length);
  std::shared_ptr<const Prompt> prompt_tree(std::span<const Token> prompt);
  SuffixGuess best_guess(const Branch& branch, const DraftTask& task) const;

  const SuffixTreeOptions options_;
  const std::shared_ptr<Answers> answers_;
  std::mutex mutex_;  // taken before that of the answers
  std::unordered_map<std::uint64_t, std::unique_ptr<Branch>> branches_;
  std::unordered_map<std::uint64_t, std::weak_ptr<const Prompt>> prompts_;  // by hash
};

}  // namespace foresight
