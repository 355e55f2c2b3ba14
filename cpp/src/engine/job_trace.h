// Writes what a job does as trace events: request, step, commit, drafts, finish.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/branch.h"
#include "engine/step.h"
#include "trace/trace.h"

namespace foresight {

class JobTrace {
 public:
  explicit JobTrace(std::unique_ptr<TraceSink> sink) : sink_(std::move(sink)) {}

  // Events of branches carry the number of the sequence in order of submission. `mask`: of the
  // model; the prompt's masks are told where they are to be filled.
  void request(const Request& request, std::int64_t first_branch, Token mask);
  void step(const StepOutcome& outcome, const std::vector<StepEvent>& commits);
  void finish(const Branch& branch);
  void flush() { sink_->flush(); }

 private:
  void drafts(const StepEvent& commit);
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  std::unique_ptr<TraceSink> sink_;
  Clock::time_point start_ = Clock::now();
  std::int64_t step_ = 0;
};

}  // namespace foresight
