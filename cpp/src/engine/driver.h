// Drives a set of branches of one caller, step after step, under the engine's fair lock.
#pragma once

#include <vector>

#include "core/function_ref.h"
#include "engine/engine.h"
#include "engine/step.h"

namespace foresight {

class Driver {
 public:
  explicit Driver(Engine& engine) : engine_(engine), step_(engine) {}

  // Takes one step for the unfinished ones of `branches` (oldest first). Waits while older branches
  // of other callers hold all pages; `poll` is called before every attempt, without the lock, and
  // may throw to cancel. Returns the outcome of the step; not progressed when all are finished.
  StepOutcome step(const std::vector<Branch*>& branches, std::vector<StepEvent>& events,
                   FunctionRef<void()> poll);

 private:
  Engine& engine_;
  Step step_;
  std::vector<Branch*> live_;
};

}  // namespace foresight
