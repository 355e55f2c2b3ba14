// One step as a transaction: schedule, plan, reserve, forward, read, advance, commit. An exception
// leaves every branch as it was before the step, or as it is after it; the cache never leaks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/branch.h"
#include "engine/engine.h"
#include "engine/reader.h"
#include "engine/work_item.h"

namespace foresight {

// A position that a step has decided, final or not.
struct Decided {
  std::int64_t position = 0;
  Token token = 0;
  double confidence = 0.0;  // NaN: nobody asked
};

// What a step did for one branch.
struct StepEvent {
  Branch* branch = nullptr;
  std::int64_t first_new = 0;  // index of the first token that became final within the new ones
  std::int64_t num_new = 0;
  std::vector<Decided> decided;
  std::int64_t drafted = 0;
  std::int64_t accepted = 0;
  DraftPace pace;
};

struct StepOutcome {
  bool progressed = false;  // false: all pages are held by older branches of other jobs
  std::int64_t rows = 0;
  double seconds = 0.0;
  double forward_seconds = 0.0;  // of these, in the model
  double draft_seconds = 0.0;    // and in drafters
  bool tested_drafts = false;    // in the forward
  std::int64_t used_pages = 0;   // of the whole cache, at the forward
  std::int64_t preemptions = 0;  // that this step made
};

// Reused from step to step; one per job.
class Step {
 public:
  explicit Step(Engine& engine) : engine_(engine) {}

  // Takes one step for `branches` (unfinished ones of one job, oldest first), under the engine's
  // lock, and appends what was committed to `events`. Throws CacheFullError when the oldest branch
  // cannot fit though nobody else holds a page.
  StepOutcome run(std::span<Branch* const> branches, std::vector<StepEvent>& events);

 private:
  void schedule(std::span<Branch* const> branches);
  void adopt_pages(Branch& probe);
  // Asks the drafters of the branches that are ready for the guesses their policies want.
  void draft();
  // Drops slots that the policy does not want; true when no rows are missing, only its own are due.
  bool is_ready(Branch& branch);
  BranchView view_of(const Branch& branch) const;
  // False when there is nothing this branch can do now.
  bool try_add(Branch& branch, std::int64_t catch_up_budget);
  bool build(Branch& branch, std::int64_t catch_up_budget);
  std::int64_t catch_up_rows(std::int64_t cached, std::int64_t missing, std::int64_t budget) const;
  bool waits_for_prompt(const Branch& branch) const;
  bool admit(const Branch& branch) const;
  bool reserve(WorkItem& item);
  void open_handles(Branch& branch);
  void forward();
  void want_states();
  void commit(std::vector<StepEvent>& events);
  void commit_item(WorkItem& item, std::vector<StepEvent>& events);
  void count_forward(Branch& branch) const;
  void commit_cache(const WorkItem& item, const Commit& commit);
  void append_tokens(Branch& branch, Commit& commit, std::vector<StepEvent>& events);
  void edit_canvas(Branch& branch, Commit& commit, std::vector<StepEvent>& events);
  void note_drafts(Branch& branch, const Commit& commit);
  void share_prefix(Branch& branch);
  // Hands the hidden states of the rows that stay to the branch's drafter.
  void show_states(const WorkItem& item, const Commit& commit);
  void close_transaction();

  Engine& engine_;
  std::vector<WorkItem> items_;
  std::vector<Branch*> probes_;  // that share their branch's pages
  std::vector<Branch*> ready_;
  std::vector<Branch*> waiting_;
  std::vector<DraftTask> draft_tasks_;
  std::vector<float> states_;  // of the rows that stay, per row [layers, hidden]
  ForwardResult result_;
  double draft_seconds_ = 0.0;
  std::uint64_t number_ = 0;  // of the step, from 1
  std::int64_t rows_in_step_ = 0;
  std::int64_t asks_in_step_ = 0;
  double forward_seconds_ = 0.0;
  ForwardBatch batch_;
  Reader reader_;
  std::vector<SlotCopy> copies_;
};

}  // namespace foresight
