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

// What a step did for one branch.
struct StepEvent {
  Branch* branch = nullptr;
  std::int64_t first_new = 0;   // index of the first committed token within the new ones
  std::int64_t num_new = 0;
};

struct StepOutcome {
  bool progressed = false;      // false: all pages are held by older branches of other jobs
  std::int64_t rows = 0;
  double seconds = 0.0;
  std::int64_t used_pages = 0;  // of the whole cache, at the forward
  std::int64_t preemptions = 0; // that this step made
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
  // Catch-up and planned rows of the next step; false when there is nothing this branch can do now.
  struct Need {
    std::int64_t catch_up = 0;
    bool ready = false;          // no catch-up rows: only the policy's own
  };
  void schedule(std::span<Branch* const> branches);
  Need need_of(Branch& branch);
  bool try_add(Branch& branch, std::int64_t catch_up_budget);
  bool build(Branch& branch, std::int64_t catch_up_budget);
  bool admit(Branch& branch);
  bool reserve(WorkItem& item);
  void open_handles(Branch& branch);
  void forward();
  void commit(std::vector<StepEvent>& events);
  void commit_item(WorkItem& item, std::vector<StepEvent>& events);
  void append_tokens(Branch& branch, Commit& commit, std::vector<StepEvent>& events);
  void share_prefix(Branch& branch);
  void close_transaction();

  Engine& engine_;
  std::vector<WorkItem> items_;
  std::int64_t rows_in_step_ = 0;
  std::int64_t asks_in_step_ = 0;
  ForwardBatch batch_;
  Reader reader_;
  std::vector<SlotCopy> copies_;
};

}  // namespace foresight
