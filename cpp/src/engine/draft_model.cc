#include "engine/draft_model.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "decode/draft_tree.h"
#include "engine/draft_scores.h"

namespace foresight {

namespace {

// Rows of a prompt that enter one forward, so that its activations stay small.
constexpr std::int64_t kMaxCatchUpRows = 512;

}  // namespace

// A task on its way, and its rows of the next forward.
struct DraftModel::Work {
  DraftTask* task = nullptr;
  DraftCache::Entry* entry = nullptr;
  std::vector<Token> context;  // in the drafter's vocabulary; a chain's guesses are added
  std::vector<Token> history;  // in the target's, with the guesses
  bool failed = false;         // no pages: nothing is guessed

  std::vector<Token> rows;
  std::vector<std::int64_t> positions;
  std::vector<std::uint64_t> ancestors;  // of trees; empty: a chain
  std::int64_t num_asked = 0;            // of the last rows
  std::int64_t first_asked = 0;          // their index among the forward's logits

  void set_chain(std::int64_t from, std::int64_t count, std::int64_t asked) {
    rows.assign(context.begin() + from, context.begin() + from + count);
    positions.clear();
    for (std::int64_t i = 0; i < count; ++i) positions.push_back(from + i);
    ancestors.clear();
    num_asked = asked;
  }

  // Behind the context, which is all cached; the last `asked` nodes ask.
  template <typename Spell>
  void set_tree(std::span<const DraftNode> nodes, std::size_t asked, Spell spell_one) {
    rows.clear();
    for (const DraftNode& node : nodes) rows.push_back(spell_one(node.token));
    positions = depths_of(nodes);
    for (std::int64_t& position : positions) position += std::ssize(context) - 1;
    ancestors = ancestors_of(nodes, 0);
    num_asked = static_cast<std::int64_t>(asked);
  }
};

DraftModel::DraftModel(const CpuContext& context, std::unique_ptr<ModelPort> model,
                       std::int64_t target_vocab, std::int64_t num_pages, VocabularyMap map)
    : context_(context),
      model_(std::move(model)),
      target_vocab_(target_vocab),
      map_(std::move(map)),
      cache_(*model_, num_pages) {
  const std::int64_t vocab = model_->config().vocab_size;
  if (map_.is_identity()) {
    if (vocab > target_vocab) {
      throw ValueError(concat("the drafter has ", vocab, " tokens and the target ", target_vocab,
                              ": a drafter of the same vocabulary cannot have more"));
    }
    return;
  }
  const auto in_range = [](Token token, std::int64_t size) { return token >= 0 && token < size; };
  bool fits = std::ssize(map_.spelled) == target_vocab && std::ssize(map_.same) == vocab;
  for (const auto& tokens : map_.spelled) {
    for (const Token token : tokens) fits = fits && in_range(token, vocab);
  }
  for (const Token token : map_.same)
    fits = fits && (token == kNoToken || in_range(token, target_vocab));
  if (!fits) {
    throw ValueError(concat("the map of vocabularies, of ", map_.spelled.size(), " and ",
                            map_.same.size(), " tokens, does not fit the target's ", target_vocab,
                            " and the drafter's ", vocab));
  }
}

std::vector<Token> DraftModel::spell(std::span<const Token> tokens) const {
  std::vector<Token> spelled;
  const std::int64_t vocab = model_->config().vocab_size;
  for (const Token token : tokens) {
    if (!map_.is_identity()) {
      const auto& own = map_.spelled[static_cast<std::size_t>(token)];
      spelled.insert(spelled.end(), own.begin(), own.end());
    } else if (token < vocab) {
      spelled.push_back(token);
    }
  }
  return spelled;
}

void DraftModel::propose(std::span<DraftTask> tasks) {
  cache_.begin();
  std::vector<Work> works;
  works.reserve(tasks.size());
  for (DraftTask& task : tasks) {
    Work work{.task = &task};
    work.context = spell(task.tokens);
    if (work.context.empty()) continue;
    work.history.assign(task.tokens.begin(), task.tokens.end());
    work.entry =
        &cache_.find(task.branch, task.request, work.context, std::ssize(work.context) - 1);
    works.push_back(std::move(work));
  }
  catch_up(works);
  std::vector<Work*> chains;
  std::vector<Work*> trees;
  for (Work& work : works) {
    if (!work.failed) (work.task->shape.width > 1 ? trees : chains).push_back(&work);
  }
  propose_chains(std::move(chains));
  propose_trees(std::move(trees));
}

void DraftModel::catch_up(std::vector<Work>& works) {
  while (true) {
    std::vector<Work*> behind;
    for (Work& work : works) {
      const auto cached = std::ssize(work.entry->tokens);
      const std::int64_t missing = std::ssize(work.context) - 1 - cached;
      // The last few come in front of the row that asks.
      if (work.failed || missing < kMaxCatchUpRows / 2) continue;
      work.set_chain(cached, std::min(missing, kMaxCatchUpRows), 0);
      behind.push_back(&work);
    }
    if (behind.empty()) return;
    forward(behind);
    for (Work* work : behind) {
      if (!work->failed) cache_.keep(*work->entry, work->rows);
    }
  }
}

void DraftModel::forward(std::span<Work* const> works) {
  batch_.clear();
  std::vector<Work*> computed;
  for (Work* work : works) {
    const auto cached = std::ssize(work->entry->tokens);
    const auto count = std::ssize(work->rows);
    if (!cache_.reserve(*work->entry, count)) {
      work->failed = true;
      continue;
    }
    computed.push_back(work);
    const auto first = std::ssize(batch_.tokens);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto rank = static_cast<std::int32_t>(i);
      const auto at = static_cast<std::size_t>(i);
      batch_.add_row(work->rows[at], work->positions[at], rank, rank);
    }
    work->first_asked = std::ssize(batch_.logit_rows);
    for (std::int64_t i = count - work->num_asked; i < count; ++i)
      batch_.logit_rows.push_back(static_cast<std::int32_t>(first + i));
    batch_.segments.push_back({.pages = cache_.pages(*work->entry),
                               .num_cached = cached,
                               .first_row = first,
                               .num_rows = count,
                               .rope_length = work->positions.back() + 1,
                               .ancestors = work->ancestors,
                               .hidden_slots = {},
                               .cached_positions = {}});
    ++work->task->forwards;
  }
  if (computed.empty()) return;
  try {
    result_ = model_->forward(batch_);
  } catch (...) {
    for (Work* work : computed) cache_.keep(*work->entry, {});
    throw;
  }
  ++num_forwards_;
}

std::span<float> DraftModel::scores_of(const Work& work, std::int64_t index,
                                       std::span<const Token> history,
                                       std::vector<float>& storage) const {
  const auto vocab = static_cast<std::size_t>(model_->config().vocab_size);
  const std::span<float> own(
      result_.logits + static_cast<std::size_t>(work.first_asked + index) * vocab, vocab);
  return target_scores(own, map_.same, target_vocab_, *work.task, history, storage);
}

void DraftModel::propose_chains(std::vector<Work*> works) {
  for (std::int64_t depth = 1; !works.empty(); ++depth) {
    for (Work* work : works) {
      const auto cached = std::ssize(work->entry->tokens);
      work->set_chain(cached, std::ssize(work->context) - cached, 1);
    }
    forward(works);
    std::erase_if(works, [](const Work* work) { return work->failed; });
    std::vector<RowReadout> answers(works.size());
    context_.threads->parallel_for(works.size(), [&](std::size_t i, int) {
      Work& work = *works[i];
      std::vector<float> storage;
      const std::span<float> scores = scores_of(work, 0, work.history, storage);
      answers[i] = draw_guess(context_, *work.task, scores, depth, std::ssize(work.history));
    });
    std::vector<Work*> going;
    for (std::size_t i = 0; i < works.size(); ++i) {
      Work& work = *works[i];
      cache_.keep(*work.entry, work.rows);
      const Token token = answers[i].token;
      if (token == kNoToken) continue;
      work.task->nodes.push_back({.token = token,
                                  .parent = static_cast<std::int32_t>(depth) - 2,
                                  .drawn_from = std::move(answers[i].drawn_from)});
      work.history.push_back(token);
      const std::vector<Token> spelled = spell({&token, 1});
      work.context.insert(work.context.end(), spelled.begin(), spelled.end());
      const DraftShape& shape = work.task->shape;
      if (depth < std::min(shape.depth, shape.num_tokens) && !spelled.empty())
        going.push_back(&work);
    }
    works = std::move(going);
  }
}

// The nodes grown so far are computed again with every level: their K/V must not be seen by
// siblings, so none of it stays.
void DraftModel::propose_trees(std::vector<Work*> works) {
  std::vector<TreeGrowth> trees;
  std::vector<std::vector<std::int32_t>> levels(works.size(), {-1});
  for (Work* work : works) {
    trees.emplace_back(work->task->shape);
    const auto cached = std::ssize(work->entry->tokens);
    work->set_chain(cached, std::ssize(work->context) - cached, 1);
  }
  std::vector<std::size_t> live(works.size());
  for (std::size_t i = 0; i < live.size(); ++i) live[i] = i;
  while (!live.empty()) {
    std::vector<Work*> asked;
    for (const std::size_t i : live) asked.push_back(works[i]);
    forward(asked);
    std::erase_if(live, [&](std::size_t i) { return works[i]->failed; });
    std::vector<std::vector<std::vector<TopEntry>>> found(live.size());
    context_.threads->parallel_for(live.size(), [&](std::size_t at, int) {
      const std::size_t i = live[at];
      Work& work = *works[i];
      std::vector<float> storage;
      for (std::size_t n = 0; n < levels[i].size(); ++n) {
        std::vector<Token> history = work.history;
        const std::vector<Token> path = trees[i].path(levels[i][n]);
        history.insert(history.end(), path.begin(), path.end());
        const std::span<float> scores =
            scores_of(work, static_cast<std::int64_t>(n), history, storage);
        found[at].push_back(best_guesses(context_, *work.task, scores, std::ssize(history)));
      }
    });
    std::vector<std::size_t> going;
    for (std::size_t at = 0; at < live.size(); ++at) {
      const std::size_t i = live[at];
      Work& work = *works[i];
      const bool is_context = levels[i].front() < 0;
      cache_.keep(*work.entry,
                  is_context ? std::span<const Token>(work.rows) : std::span<const Token>());
      for (std::size_t n = 0; n < levels[i].size(); ++n) trees[i].add(levels[i][n], found[at][n]);
      levels[i] = trees[i].next_level();
      if (levels[i].empty()) continue;
      const std::vector<DraftNode>& grown = trees[i].grown();
      work.set_tree(grown, levels[i].size(), [&](Token token) {
        return spell({&token, 1}).front();
      });
      going.push_back(i);
    }
    live = std::move(going);
  }
  for (std::size_t i = 0; i < works.size(); ++i) works[i]->task->nodes = trees[i].result();
}

}  // namespace foresight
