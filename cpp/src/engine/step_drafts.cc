// What a step does with drafters: asks for guesses, books what became of them, and shows hidden
// states.
#include <algorithm>

#include "core/error.h"
#include "engine/step.h"

namespace foresight {

void Step::draft() {
  draft_tasks_.clear();
  Drafter* drafter = nullptr;
  for (Branch* branch : ready_) {
    const Request& request = *branch->request;
    const std::int64_t length = std::ssize(branch->tokens);
    if (request.drafter == nullptr || branch->drafts.length == length) continue;
    FORESIGHT_CHECK(drafter == nullptr || drafter == request.drafter.get(),
                    "a job has one drafter");
    drafter = request.drafter.get();
    const DraftShape shape = request.policy->wanted_drafts(view_of(*branch), branch->state);
    branch->drafts = {.nodes = {}, .length = length};
    if (shape.num_tokens == 0) continue;
    draft_tasks_.push_back({.branch = branch->id,
                            .request = static_cast<std::uint64_t>(request.prefix.order),
                            .tokens = branch->tokens,
                            .prompt_length = branch->prompt_length,
                            .shape = shape,
                            .processors = &request.processors,
                            .do_sample = request.readout.do_sample,
                            .key = branch->key});
  }
  if (draft_tasks_.empty()) return;
  const auto start = Clock::now();
  // A drafter that throws leaves no half-made guesses behind.
  struct Undo {
    std::vector<Branch*>& ready;
    bool is_done = false;
    ~Undo() {
      for (Branch* branch : ready) {
        if (!is_done) branch->drafts = {};
      }
    }
  } undo{ready_};
  drafter->propose(draft_tasks_);
  auto task = draft_tasks_.begin();
  for (Branch* branch : ready_) {
    if (task == draft_tasks_.end() || task->branch != branch->id) continue;
    branch->drafts.nodes = std::move(task->nodes);
    branch->counters.draft_forwards += task->forwards;
    ++task;
  }
  undo.is_done = true;
  draft_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
}

// Rows of the target of branches whose drafter looks at hidden states.
void Step::want_states() {
  for (WorkItem& item : items_) {
    item.first_state = -1;
    const Drafter* drafter = item.branch->request->drafter.get();
    if (drafter == nullptr) continue;
    const std::vector<std::int32_t> layers = drafter->hidden_layers();
    if (layers.empty()) continue;
    FORESIGHT_CHECK(batch_.hidden_layers.empty() || batch_.hidden_layers == layers,
                    "hidden states of the same layers for all rows of a step");
    batch_.hidden_layers = layers;
    const PackedSegment* target = item.segment_of(Role::target);
    if (target == nullptr) continue;
    item.first_state = std::ssize(batch_.hidden_rows);
    for (std::int64_t i = 0; i < target->num_rows(); ++i)
      batch_.hidden_rows.push_back(static_cast<std::int32_t>(target->first_row + i));
  }
}

void Step::show_states(const WorkItem& item, const Commit& commit) {
  if (item.first_state < 0 || item.branch->finished()) return;
  const Branch& branch = *item.branch;
  const PackedSegment& target = *item.segment_of(Role::target);
  const auto size =
      static_cast<std::size_t>(engine_.config().hidden_size) * batch_.hidden_layers.size();
  states_.clear();
  const auto keep = [&](std::int64_t row) {
    const float* from = result_.hidden + static_cast<std::size_t>(item.first_state + row) * size;
    states_.insert(states_.end(), from, from + size);
  };
  for (std::int64_t i = 0; i < target.num_catch_up; ++i) keep(i);
  if (target.plan_segment >= 0) {
    for (const std::int32_t row : commit.kept_rows[static_cast<std::size_t>(target.plan_segment)])
      keep(target.num_catch_up + row);
  }
  branch.request->drafter->observe(
      {.branch = branch.id,
       .tokens = branch.tokens,
       .first_position = target.cached,
       .num_positions = static_cast<std::int64_t>(states_.size() / size),
       .hidden = states_.data()});
}

void Step::note_drafts(Branch& branch, const Commit& commit) {
  branch.counters.drafted_tokens += commit.drafted_tokens;
  branch.counters.accepted_tokens += commit.accepted_tokens;
  const auto depth = static_cast<std::size_t>(commit.draft_depth);
  if (branch.drafted_at.size() < depth) {
    branch.drafted_at.resize(depth, 0);
    branch.accepted_at.resize(depth, 0);
  }
  for (std::size_t i = 0; i < depth; ++i) {
    ++branch.drafted_at[i];
    if (static_cast<std::int64_t>(i) < commit.accepted_tokens) ++branch.accepted_at[i];
  }
}

}  // namespace foresight
