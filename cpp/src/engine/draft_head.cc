#include "engine/draft_head.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "decode/draft_tree.h"
#include "decode/tree_growth.h"
#include "engine/draft_scores.h"

namespace foresight {

namespace {

// Rows of a prompt that enter one forward, so that its activations stay small.
constexpr std::int64_t kMaxRows = 512;
// So many features wait before they are cached without being asked for.
constexpr std::int64_t kMaxWaiting = 256;

}  // namespace

// A branch on its way, and its rows of the next forward.
struct DraftHead::Work {
  HeadContexts::Entry* entry = nullptr;
  DraftTask* task = nullptr;   // null: nothing is asked
  std::vector<Token> history;  // with the guesses
  bool failed = false;         // no pages: nothing is guessed

  std::vector<Token> rows;
  std::vector<std::int64_t> positions;
  std::vector<float> features;           // [rows, hidden], or empty
  std::vector<std::uint64_t> ancestors;  // of trees; empty: causal
  std::int64_t first_asked = 0;          // the rows from here on ask, and so many
  std::int64_t num_asked = 0;
  std::int64_t first_answer = 0;  // their index among the forward's answers
  std::vector<float> carried;     // [rank] of a Markov head

  void ask_last(std::int64_t count) {
    num_asked = count;
    first_asked = std::ssize(rows) - count;
  }

  // The first waiting features of the branch, each with the token behind it.
  void set_waiting(std::int64_t count, std::int64_t hidden, std::int64_t asked) {
    const std::size_t first = entry->first_waiting();
    rows.clear();
    positions.clear();
    ancestors.clear();
    for (std::size_t i = first; i < first + static_cast<std::size_t>(count); ++i) {
      const std::int64_t position = entry->feature_positions[i];
      positions.push_back(position);
      const auto behind = static_cast<std::size_t>(position) + 1;
      rows.push_back(behind < entry->tokens.size() ? entry->tokens[behind] : 0);
    }
    const auto begin = entry->features.begin() + static_cast<std::ptrdiff_t>(first) * hidden;
    features.assign(begin, begin + count * hidden);
    ask_last(asked);
  }

  // The last guess, behind what its row before gave.
  void set_guess(std::int64_t position, const float* feature, std::int64_t hidden) {
    rows.assign(1, history.back());
    positions.assign(1, position);
    features.assign(feature, feature + hidden);
    ancestors.clear();
    ask_last(1);
  }
};

DraftHead::DraftHead(const CpuContext& context, std::unique_ptr<DraftNetwork> network,
                     std::int64_t num_pages, std::vector<Token> to_target)
    : context_(context),
      network_(std::move(network)),
      to_target_(std::move(to_target)),
      contexts_(*network_, num_pages, fills_blocks() ? 0 : 1) {
  const std::int64_t vocab = head().model.vocab_size;
  if (to_target_.empty()) return;
  if (std::ssize(to_target_) != vocab) {
    throw ValueError(concat("the draft head's map of tokens has ", to_target_.size(),
                            " entries, expected one for each of its ", vocab, " tokens"));
  }
  for (const Token token : to_target_) {
    if (token < 0 || token >= head().target_vocab_size) {
      throw ValueError(concat("the draft head's map of tokens names token ", token,
                              ", outside [0, ", head().target_vocab_size,
                              "), the target's vocabulary"));
    }
  }
}

void DraftHead::observe(const TargetStates& states) {
  contexts_.begin();
  HeadContexts::Entry& entry = contexts_.find(states.branch, states.tokens);
  projected_.resize(static_cast<std::size_t>(states.num_positions * hidden_size()));
  network_->project(states.hidden, states.num_positions, projected_.data());
  contexts_.add(entry, states.first_position, states.num_positions, projected_.data());
  // A long prompt: its features take more memory than its K/V.
  if (entry.num_waiting() < kMaxWaiting) return;
  Work work{.entry = &entry};
  absorb({&work}, kMaxWaiting);
}

void DraftHead::propose(std::span<DraftTask> tasks) {
  contexts_.begin();
  std::vector<Work> works;
  works.reserve(tasks.size());
  for (DraftTask& task : tasks) {
    const std::int64_t length = std::ssize(task.tokens);
    if (length < 2 || std::min(task.shape.num_tokens, task.shape.depth) < 1) continue;
    HeadContexts::Entry& entry = contexts_.find(task.branch, task.tokens);
    // The last token is not of the context; a head that is to be asked computes the row before it
    // again where that is cached.
    contexts_.trim(entry, length - 1);
    const std::vector<std::int32_t>& last =
        entry.num_waiting() > 0 ? entry.feature_positions : entry.positions;
    if (last.empty() || last.back() != length - 2) continue;
    works.push_back(
        {.entry = &entry, .task = &task, .history = {task.tokens.begin(), task.tokens.end()}});
  }
  std::vector<Work*> all;
  for (Work& work : works) all.push_back(&work);
  absorb(all, fills_blocks() ? 1 : kMaxWaiting);
  std::vector<Work*> chains;
  std::vector<Work*> trees;
  for (Work* work : all) {
    if (!work->failed) (work->task->shape.width > 1 ? trees : chains).push_back(work);
  }
  if (fills_blocks()) {
    // A block ranks the tokens of each place by themselves: its likeliest path is what it has.
    chains.insert(chains.end(), trees.begin(), trees.end());
    propose_blocks(std::move(chains));
    return;
  }
  propose_chains(std::move(chains));
  propose_trees(std::move(trees));
}

void DraftHead::absorb(std::vector<Work*> works, std::int64_t most) {
  while (true) {
    std::vector<Work*> behind;
    for (Work* work : works) {
      if (work->failed) continue;
      const std::int64_t waiting = work->entry->num_waiting();
      // The last row is the one that will be asked, or waits for the token behind it.
      const std::int64_t ready = fills_blocks() ? waiting : waiting - 1;
      if (ready < most) continue;
      work->set_waiting(std::min(ready, kMaxRows), hidden_size(), 0);
      behind.push_back(work);
    }
    if (behind.empty()) return;
    forward(behind);
    for (Work* work : behind) contexts_.keep_features(*work->entry, std::ssize(work->rows));
  }
}

void DraftHead::forward(std::vector<Work*>& works) {
  batch_.clear();
  row_features_.clear();
  std::erase_if(works, [&](Work* work) {
    work->failed = !contexts_.reserve(*work->entry, std::ssize(work->rows));
    return work->failed;
  });
  for (Work* work : works) {
    const auto first = std::ssize(batch_.tokens);
    const auto count = std::ssize(work->rows);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto rank = static_cast<std::int32_t>(i);
      const auto at = static_cast<std::size_t>(i);
      batch_.add_row(work->rows[at], work->positions[at], rank, rank);
    }
    row_features_.insert(row_features_.end(), work->features.begin(), work->features.end());
    work->first_answer = std::ssize(batch_.logit_rows);
    for (std::int64_t i = 0; i < work->num_asked; ++i)
      batch_.logit_rows.push_back(static_cast<std::int32_t>(first + work->first_asked + i));
    const HeadContexts::Entry& entry = *work->entry;
    batch_.segments.push_back({.pages = contexts_.pages(entry),
                               .num_cached = std::ssize(entry.positions),
                               .first_row = first,
                               .num_rows = count,
                               .rope_length = work->positions.back() + 1,
                               .ancestors = work->ancestors,
                               .hidden_slots = {},
                               .cached_positions = entry.positions});
    if (work->task != nullptr) ++work->task->forwards;
  }
  if (works.empty()) return;
  batch_.hidden_rows = batch_.logit_rows;
  if (!row_features_.empty()) batch_.features = row_features_.data();
  try {
    result_ = network_->forward(batch_);
  } catch (...) {
    for (Work* work : works) contexts_.drop(*work->entry);
    throw;
  }
  ++num_forwards_;
}

std::span<float> DraftHead::logits_of(const Work& work, std::int64_t index) const {
  const auto vocab = static_cast<std::size_t>(head().model.vocab_size);
  return {result_.logits + static_cast<std::size_t>(work.first_answer + index) * vocab, vocab};
}

const float* DraftHead::hidden_of(const Work& work, std::int64_t index) const {
  return result_.hidden + (work.first_answer + index) * hidden_size();
}

void DraftHead::propose_chains(std::vector<Work*> works) {
  for (Work* work : works) {
    work->set_waiting(work->entry->num_waiting(), hidden_size(), 1);
  }
  std::vector<HeadContexts::Entry*> guessed;
  for (std::int64_t depth = 1; !works.empty(); ++depth) {
    forward(works);
    std::vector<RowReadout> answers(works.size());
    context_.threads->parallel_for(works.size(), [&](std::size_t i, int) {
      const Work& work = *works[i];
      std::vector<float> storage;
      const std::span<float> scores =
          target_scores(logits_of(work, 0), to_target_, head().target_vocab_size, *work.task,
                        work.history, storage);
      answers[i] = draw_guess(context_, *work.task, scores, depth, std::ssize(work.history));
    });
    std::vector<Work*> going;
    for (std::size_t i = 0; i < works.size(); ++i) {
      Work& work = *works[i];
      if (depth == 1) {
        contexts_.keep_features(*work.entry, std::ssize(work.rows));
        guessed.push_back(work.entry);
      } else {
        contexts_.keep_guess(*work.entry, work.positions.back());
      }
      const Token token = answers[i].token;
      if (token == kNoToken) continue;
      work.task->nodes.push_back({.token = token,
                                  .parent = static_cast<std::int32_t>(depth) - 2,
                                  .drawn_from = std::move(answers[i].drawn_from)});
      work.history.push_back(token);
      if (depth >= std::min(work.task->shape.depth, work.task->shape.num_tokens)) continue;
      work.set_guess(work.positions.back() + 1, hidden_of(work, 0), hidden_size());
      going.push_back(&work);
    }
    works = std::move(going);
  }
  for (HeadContexts::Entry* entry : guessed) contexts_.drop_guesses(*entry);
}

// The nodes grown so far are computed again with every level: their K/V must not be seen by
// siblings, so none of it stays.
void DraftHead::propose_trees(std::vector<Work*> works) {
  struct Tree {
    TreeGrowth growth;
    std::vector<std::int32_t> level{-1};
    std::vector<float> features;  // [grown, hidden]
  };
  std::vector<Tree> trees;
  for (Work* work : works) {
    trees.push_back({.growth = TreeGrowth(work->task->shape), .level = {-1}, .features = {}});
    work->set_waiting(work->entry->num_waiting(), hidden_size(), 1);
  }
  std::vector<std::pair<Work*, Tree*>> live;
  for (std::size_t i = 0; i < works.size(); ++i) live.emplace_back(works[i], &trees[i]);
  const auto size = static_cast<std::ptrdiff_t>(hidden_size());
  while (!live.empty()) {
    std::vector<Work*> asked;
    for (const auto& [work, tree] : live) asked.push_back(work);
    forward(asked);
    std::erase_if(live, [](const auto& pair) { return pair.first->failed; });
    std::vector<std::vector<std::vector<TopEntry>>> found(live.size());
    context_.threads->parallel_for(live.size(), [&](std::size_t i, int) {
      const auto& [work, tree] = live[i];
      std::vector<float> storage;
      for (std::size_t n = 0; n < tree->level.size(); ++n) {
        std::vector<Token> history = work->history;
        const std::vector<Token> path = tree->growth.path(tree->level[n]);
        history.insert(history.end(), path.begin(), path.end());
        const std::span<float> scores =
            target_scores(logits_of(*work, static_cast<std::int64_t>(n)), to_target_,
                          head().target_vocab_size, *work->task, history, storage);
        found[i].push_back(best_guesses(context_, *work->task, scores, std::ssize(history)));
      }
    });
    std::vector<std::pair<Work*, Tree*>> going;
    for (std::size_t i = 0; i < live.size(); ++i) {
      const auto& [work, tree] = live[i];
      const bool is_context = tree->level.front() < 0;
      if (is_context) {
        contexts_.keep_features(*work->entry, std::ssize(work->rows));
      } else {
        contexts_.drop(*work->entry);
      }
      for (std::size_t n = 0; n < tree->level.size(); ++n)
        tree->growth.add(tree->level[n], found[i][n]);
      const std::size_t parents =
          tree->growth.grown().size() - (is_context ? 0 : tree->level.size());
      tree->level = tree->growth.next_level();
      const std::vector<DraftNode>& grown = tree->growth.grown();
      if (tree->level.empty()) continue;
      // A node's feature is what its parent's row gave; parents are the rows that asked.
      for (std::size_t n = static_cast<std::size_t>(std::ssize(tree->features) / size);
           n < grown.size(); ++n) {
        const std::int32_t parent = grown[n].parent;
        const float* from =
            hidden_of(*work, parent < 0 ? 0 : parent - static_cast<std::int32_t>(parents));
        tree->features.insert(tree->features.end(), from, from + size);
      }
      work->rows.clear();
      for (const DraftNode& node : grown) work->rows.push_back(node.token);
      work->positions = depths_of(grown);
      for (std::int64_t& position : work->positions) position += std::ssize(work->task->tokens) - 2;
      work->features = tree->features;
      work->ancestors = ancestors_of(grown, 0);
      work->ask_last(std::ssize(tree->level));
      going.push_back(live[i]);
    }
    live = std::move(going);
  }
  for (std::size_t i = 0; i < works.size(); ++i) works[i]->task->nodes = trees[i].growth.result();
}

void DraftHead::propose_blocks(std::vector<Work*> works) {
  const std::int64_t length = head().block_length;
  const std::int64_t first = head().predicts_next ? 0 : 1;
  for (Work* work : works) {
    const std::int64_t anchor = std::ssize(work->task->tokens) - 1;
    work->rows.assign(static_cast<std::size_t>(length), head().mask_token);
    work->rows.front() = work->task->tokens.back();
    work->positions.clear();
    for (std::int64_t i = 0; i < length; ++i) work->positions.push_back(anchor + i);
    work->features.clear();
    work->ancestors.clear();
    work->first_asked = first;
    work->num_asked =
        std::min({work->task->shape.num_tokens, work->task->shape.depth, length - first});
    work->carried.assign(static_cast<std::size_t>(head().markov_rank), 0.0f);
  }
  forward(works);
  for (Work* work : works) contexts_.drop(*work->entry);
  for (std::int64_t depth = 1; !works.empty(); ++depth) fill_place(works, depth);
}

void DraftHead::fill_place(std::vector<Work*>& works, std::int64_t depth) {
  const std::int64_t place = depth - 1;
  if (head().markov != MarkovKind::none) {
    const MarkovHead& markov = network_->weights().markov;
    const auto vocab = static_cast<std::size_t>(head().model.vocab_size);
    std::vector<Token> previous;
    std::vector<float> hidden;
    states_.clear();
    for (const Work* work : works) {
      previous.push_back(work->history.back());
      const float* row = hidden_of(*work, place);
      hidden.insert(hidden.end(), row, row + hidden_size());
      states_.insert(states_.end(), work->carried.begin(), work->carried.end());
    }
    bias_.resize(works.size() * vocab);
    markov.step(context_, previous, hidden.data(), states_.data(), bias_.data(), markov_scratch_);
    for (std::size_t i = 0; i < works.size(); ++i) {
      const float* state = states_.data() + static_cast<std::int64_t>(i) * markov.rank();
      works[i]->carried.assign(state, state + markov.rank());
      const std::span<float> logits = logits_of(*works[i], place);
      for (std::size_t v = 0; v < vocab; ++v) logits[v] += bias_[i * vocab + v];
    }
  }
  std::vector<RowReadout> answers(works.size());
  context_.threads->parallel_for(works.size(), [&](std::size_t i, int) {
    const Work& work = *works[i];
    std::vector<float> storage;
    const std::span<float> scores =
        target_scores(logits_of(work, place), to_target_, head().target_vocab_size, *work.task,
                      work.history, storage);
    answers[i] = draw_guess(context_, *work.task, scores, depth, std::ssize(work.history));
  });
  std::vector<Work*> going;
  for (std::size_t i = 0; i < works.size(); ++i) {
    Work& work = *works[i];
    if (answers[i].token == kNoToken) continue;
    work.task->nodes.push_back({.token = answers[i].token,
                                .parent = static_cast<std::int32_t>(place) - 1,
                                .drawn_from = std::move(answers[i].drawn_from)});
    work.history.push_back(answers[i].token);
    if (depth < work.num_asked) going.push_back(&work);
  }
  works = std::move(going);
}

}  // namespace foresight
