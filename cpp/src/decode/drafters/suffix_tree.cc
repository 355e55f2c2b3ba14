#include "decode/drafters/suffix_tree.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "decode/drafters/common_prefix.h"

namespace foresight {

namespace {

constexpr std::int64_t kMostTokens = 1'000'000'000;

// Not 0.
std::uint64_t hash_of(std::span<const Token> tokens) {
  std::uint64_t hash = tokens.size();
  for (const Token token : tokens) hash = mix64(hash, static_cast<std::uint64_t>(token));
  return std::max<std::uint64_t>(hash, 1);
}

std::optional<std::uint64_t> key_of(std::uint64_t hash) {
  return hash == 0 ? std::nullopt : std::optional(hash);
}

void check_tokens(std::span<const Token> tokens, const char* what) {
  const auto negative = std::ranges::find_if(tokens, [](Token token) { return token < 0; });
  if (negative != tokens.end()) {
    throw ValueError(concat(what, " hold ", *negative, " at ", negative - tokens.begin(),
                            ", expected token ids of at least 0"));
  }
}

// Where the sequence of a text with a prompt begins: so that its windows with a token behind the
// prompt are whole.
std::size_t tail_start(std::size_t prompt_length, std::int64_t max_depth) {
  const auto context = static_cast<std::size_t>(max_depth - 1);
  return prompt_length > context ? prompt_length - context : 0;
}

}  // namespace

// The prompt's windows of full depth; those that end with it are counted with the branch's output.
struct SuffixTree::Prompt {
  Prompt(std::span<const Token> prompt, std::uint64_t prompt_hash, std::int64_t max_depth)
      : tree(max_depth), sequence(tree.start()), hash(prompt_hash) {
    const std::size_t tail = tail_start(prompt.size(), max_depth);
    for (std::size_t i = 0; i < prompt.size(); ++i) tree.append(sequence, prompt[i], i < tail);
    tree.finish(sequence);
  }
  std::span<const Token> tokens() const { return tree.tokens(sequence); }

  CountTree tree;
  CountTree::SequenceId sequence;
  std::uint64_t hash;
};

struct SuffixTree::Branch {
  std::shared_ptr<const Prompt> prompt;
  std::unique_ptr<CountTree> tree;  // of one sequence: the tokens from tail_start on
  // The sequence among the answers, and which token is its first.
  std::optional<CountTree::SequenceId> answer;
  std::size_t answer_start = 0;
};

struct SuffixTree::Answers {
  Answers(std::int64_t max_depth, std::int64_t most) : tree(max_depth), max_tokens(most) {}

  // Takes in what `tokens` has more than it had. Tokens that changed start a new sequence.
  void update(Branch& branch, std::span<const Token> tokens) {
    const std::size_t prompt_length = branch.prompt->tokens().size();
    if (tokens.size() <= prompt_length) return;
    std::size_t from = tail_start(prompt_length, tree.max_depth());
    if (branch.answer && tree.holds(*branch.answer)) {
      const std::span<const Token> known = tree.tokens(*branch.answer);
      const std::size_t start = std::min(branch.answer_start, tokens.size());
      const std::size_t same = common_prefix(known, tokens.subspan(start));
      if (same < known.size()) {
        if (start + same == tokens.size()) return;  // fewer than it had, so far
        tree.finish(*branch.answer);
        branch.answer.reset();
        from = std::max(from, tail_start(start + same, tree.max_depth()));
      }
    } else if (branch.answer) {
      branch.answer.reset();
      from = std::max(from, tail_start(tokens.size(), tree.max_depth()));
    }
    if (!branch.answer) begin(branch, from);
    for (;;) {
      const std::size_t next = branch.answer_start + tree.tokens(*branch.answer).size();
      if (next >= tokens.size()) return;
      tree.append(*branch.answer, tokens[next]);
      make_room();
      if (!tree.holds(*branch.answer)) begin(branch, tail_start(next + 1, tree.max_depth()));
    }
  }

  void begin(Branch& branch, std::size_t from) {
    branch.answer = tree.start(key_of(branch.prompt->hash));
    branch.answer_start = from;
  }

  void finish(const Branch& branch) {
    if (branch.answer && tree.holds(*branch.answer)) tree.finish(*branch.answer);
  }

  void add(std::span<const Token> tokens, std::optional<std::uint64_t> key) {
    const CountTree::SequenceId sequence = tree.start(key);
    for (const Token token : tokens) tree.append(sequence, token);
    tree.finish(sequence);
    make_room();
  }

  void make_room() {
    while (tree.num_tokens() > max_tokens) tree.remove_oldest();
  }

  std::mutex mutex;
  CountTree tree;
  const std::int64_t max_tokens;
};

SuffixTree::SuffixTree(const SuffixTreeOptions& options)
    : SuffixTree(options, [&] {
        if (options.max_depth < 2 || options.max_depth > CountTree::kMaxDepth) {
          throw ValueError(
              concat("max_depth is ", options.max_depth, ", expected 2 to ", CountTree::kMaxDepth));
        }
        if (!(options.min_probability >= 0.0 && options.min_probability <= 1.0))
          throw ValueError(
              concat("min_probability is ", options.min_probability, ", expected 0 to 1"));
        if (!(options.max_factor > 0.0 && std::isfinite(options.max_factor)))
          throw ValueError(concat("max_factor is ", options.max_factor, ", expected more than 0"));
        if (options.max_tokens < 4 * options.max_depth || options.max_tokens > kMostTokens) {
          throw ValueError(concat("max_tokens is ", options.max_tokens,
                                  ", expected 4 * max_depth, which is ", 4 * options.max_depth,
                                  ", to ", kMostTokens));
        }
        return std::make_shared<Answers>(options.max_depth, options.max_tokens);
      }()) {}

SuffixTree::SuffixTree(const SuffixTreeOptions& options, std::shared_ptr<Answers> answers)
    : options_(options), answers_(std::move(answers)) {}

SuffixTree::~SuffixTree() {
  const std::lock_guard guard(answers_->mutex);
  for (const auto& [id, branch] : branches_) answers_->finish(*branch);
}

std::shared_ptr<SuffixTree> SuffixTree::share() const {
  return std::shared_ptr<SuffixTree>(new SuffixTree(options_, answers_));
}

std::shared_ptr<const SuffixTree::Prompt> SuffixTree::prompt_tree(std::span<const Token> prompt) {
  const std::uint64_t hash = prompt.empty() ? 0 : hash_of(prompt);
  if (const auto known = prompts_.find(hash); known != prompts_.end()) {
    std::shared_ptr<const Prompt> held = known->second.lock();
    if (held != nullptr && std::ranges::equal(held->tokens(), prompt)) return held;
  }
  std::erase_if(prompts_, [](const auto& entry) { return entry.second.expired(); });
  auto made = std::make_shared<const Prompt>(prompt, hash, options_.max_depth);
  prompts_[hash] = made;
  return made;
}

// The branch with its own text up to the last of `tokens`.
SuffixTree::Branch& SuffixTree::updated(std::uint64_t id, std::span<const Token> tokens,
                                        std::int64_t prompt_length) {
  std::unique_ptr<Branch>& branch = branches_[id];
  const std::span<const Token> prompt =
      tokens.first(std::min(static_cast<std::size_t>(prompt_length), tokens.size()));
  if (branch == nullptr || !std::ranges::equal(branch->prompt->tokens(), prompt)) {
    if (branch != nullptr) {
      const std::lock_guard guard(answers_->mutex);
      answers_->finish(*branch);
    }
    branch = std::make_unique<Branch>();
    branch->prompt = prompt_tree(prompt);
  }
  const std::span<const Token> own = tokens.subspan(tail_start(prompt.size(), options_.max_depth));
  std::unique_ptr<CountTree>& tree = branch->tree;
  if (tree != nullptr) {
    const std::span<const Token> known = tree->tokens(tree->oldest());
    if (common_prefix(known, own) < known.size()) tree = nullptr;
  }
  if (tree == nullptr) {
    tree = std::make_unique<CountTree>(options_.max_depth);
    tree->start();
  }
  const CountTree::SequenceId sequence = tree->oldest();
  for (const Token token : own.subspan(tree->tokens(sequence).size()))
    tree->append(sequence, token);
  return *branch;
}

// With the answers locked.
SuffixGuess SuffixTree::best_guess(const Branch& branch, const DraftTask& task) const {
  const SuffixRules rules{.min_probability = options_.min_probability,
                          .max_factor = options_.max_factor};
  const CountTree& answers = answers_->tree;
  std::vector<SuffixSources> sources;
  if (const CountTree::NodeId root = answers.root_of(branch.prompt->hash);
      root != CountTree::kNoNode)
    sources.push_back({{{.tree = &answers, .root = root}, {}}});
  sources.push_back({{{.tree = &branch.prompt->tree}, {.tree = branch.tree.get()}}});
  sources.push_back({{{.tree = &answers}, {}}});
  SuffixGuess best;
  for (const SuffixSources& source : sources) {
    SuffixGuess guess = guess_from(source, task.tokens, task.shape, rules);
    if (guess.score > best.score) best = std::move(guess);
  }
  return best;
}

void SuffixTree::propose(std::span<DraftTask> tasks) {
  const std::lock_guard own(mutex_);
  for (DraftTask& task : tasks) {
    Branch& branch = updated(task.branch, task.tokens, task.prompt_length);
    const std::lock_guard guard(answers_->mutex);
    answers_->update(branch, task.tokens);
    task.nodes = best_guess(branch, task).nodes;
  }
}

void SuffixTree::learn(std::uint64_t id, std::span<const Token> tokens,
                       std::int64_t prompt_length) {
  const std::lock_guard own(mutex_);
  Branch& branch = updated(id, tokens, prompt_length);
  const std::lock_guard guard(answers_->mutex);
  answers_->update(branch, tokens);
}

void SuffixTree::forget(std::uint64_t id) {
  const std::lock_guard own(mutex_);
  const auto branch = branches_.find(id);
  if (branch == branches_.end()) return;
  {
    const std::lock_guard guard(answers_->mutex);
    answers_->finish(*branch->second);
  }
  branches_.erase(branch);
}

void SuffixTree::add(std::span<const Token> tokens, std::span<const Token> prompt) {
  check_tokens(tokens, "tokens");
  check_tokens(prompt, "prompt");
  if (tokens.empty()) return;
  const std::span<const Token> context =
      prompt.subspan(tail_start(prompt.size(), options_.max_depth));
  std::vector<Token> sequence(context.begin(), context.end());
  sequence.insert(sequence.end(), tokens.begin(), tokens.end());
  const auto most = static_cast<std::size_t>(options_.max_tokens);
  const std::span<const Token> kept =
      std::span<const Token>(sequence).last(std::min(sequence.size(), most));
  const std::uint64_t hash = prompt.empty() ? 0 : hash_of(prompt);
  const std::lock_guard guard(answers_->mutex);
  answers_->add(kept, key_of(hash));
}

std::int64_t SuffixTree::num_tokens() const {
  const std::lock_guard guard(answers_->mutex);
  return answers_->tree.num_tokens();
}

HeldAnswers SuffixTree::held() const {
  HeldAnswers held;
  const std::lock_guard guard(answers_->mutex);
  const CountTree& tree = answers_->tree;
  held.tokens.reserve(static_cast<std::size_t>(tree.num_tokens()));
  for (auto id = tree.oldest(); tree.holds(id); ++id) {
    const std::span<const Token> tokens = tree.tokens(id);
    held.tokens.insert(held.tokens.end(), tokens.begin(), tokens.end());
    held.lengths.push_back(std::ssize(tokens));
    held.prompts.push_back(tree.key(id).value_or(0));
  }
  return held;
}

void SuffixTree::add_held(const HeldAnswers& answers) {
  check_tokens(answers.tokens, "tokens");
  if (answers.prompts.size() != answers.lengths.size()) {
    throw ValueError(concat("there are ", answers.lengths.size(), " lengths and ",
                            answers.prompts.size(), " prompts, expected as many"));
  }
  std::int64_t left = std::ssize(answers.tokens);
  if (left > options_.max_tokens) {
    throw ValueError(concat("there are ", left, " tokens, expected max_tokens, which is ",
                            options_.max_tokens, ", at most"));
  }
  for (const std::int64_t length : answers.lengths) {
    if (length < 1 || length > left)
      throw ValueError(concat("a sequence has ", length, " tokens, expected 1 to ", left));
    left -= length;
  }
  if (left != 0) throw ValueError(concat(left, " tokens belong to no sequence"));
  std::span<const Token> rest = answers.tokens;
  const std::lock_guard guard(answers_->mutex);
  for (std::size_t i = 0; i < answers.lengths.size(); ++i) {
    const auto length = static_cast<std::size_t>(answers.lengths[i]);
    answers_->add(rest.first(length), key_of(answers.prompts[i]));
    rest = rest.subspan(length);
  }
}

}  // namespace foresight
