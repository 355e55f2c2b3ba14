// Writes what a job does as trace events: request, step, commit, drafts, finish; of branches under
// control start, probe, confidence and end instead of finish, and outcome.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/branch.h"
#include "engine/step.h"
#include "trace/trace.h"

namespace foresight {

struct ControlSpec;

class JobTrace {
 public:
  explicit JobTrace(std::unique_ptr<TraceSink> sink) : sink_(std::move(sink)) {}

  // Events of branches carry the number of the sequence in order of submission. `mask`: of the
  // model; the prompt's masks are told where they are to be filled.
  // `control`: null where nobody controls the branches.
  void request(const Request& request, std::int64_t first_branch, Token mask,
               const ControlSpec* control);
  void step(const StepOutcome& outcome, const std::vector<StepEvent>& commits);
  void finish(const Branch& branch);

  // Answers are texts; none: there is none.
  void start(const Branch& branch, std::int64_t number, std::int64_t parent, std::int64_t inherited,
             std::int64_t clock);
  void probe(const Branch& branch, std::int64_t num_tokens, std::int64_t probe_tokens,
             const std::optional<std::string>& answer);
  void confidence(const Branch& branch, std::int64_t num_tokens, double value);
  void end(const Branch& branch, const char* status, std::int64_t num_tokens, std::int64_t clock,
           const std::string& reason, const std::optional<std::string>& answer);
  void outcome(const Request& request, std::int64_t winner, std::int64_t clock,
               const std::string& reason, const std::optional<std::string>& answer);
  void flush() { sink_->flush(); }

 private:
  void drafts(const StepEvent& commit);
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  std::unique_ptr<TraceSink> sink_;
  Clock::time_point start_ = Clock::now();
  std::int64_t step_ = 0;
};

}  // namespace foresight
