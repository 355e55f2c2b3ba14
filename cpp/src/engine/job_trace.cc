#include "engine/job_trace.h"

namespace foresight {

void JobTrace::request(const Request& request, std::int64_t first_branch) {
  sink_->write({.kind = "request",
                .seconds = seconds(),
                .branch = first_branch,
                .fields = {{"request", request.index},
                           {"sequences", request.num_sequences},
                           {"max_length", request.max_length},
                           {"seed", std::to_string(request.seed)},
                           {"prompt", int_list(request.prompt)}}});
}

void JobTrace::step(const StepOutcome& outcome, const std::vector<StepEvent>& commits) {
  sink_->write({.kind = "step",
                .seconds = seconds(),
                .step = step_,
                .fields = {{"rows", outcome.rows},
                           {"took_seconds", outcome.seconds},
                           {"used_pages", outcome.used_pages},
                           {"preemptions", outcome.preemptions}}});
  for (const StepEvent& commit : commits) {
    const Branch& branch = *commit.branch;
    const auto first = branch.tokens.begin() + branch.prompt_length + commit.first_new;
    const std::vector<Token> tokens(first, first + commit.num_new);
    sink_->write({.kind = "commit",
                  .seconds = seconds(),
                  .step = step_,
                  .branch = branch.trace_index,
                  .fields = {{"position", branch.prompt_length + commit.first_new},
                             {"tokens", int_list(tokens)}}});
  }
  ++step_;
}

void JobTrace::finish(const Branch& branch) {
  sink_->write({.kind = "finish",
                .seconds = seconds(),
                .branch = branch.trace_index,
                .fields = {{"reason", std::string(name_of(branch.stop))},
                           {"new_tokens", branch.num_new_tokens()},
                           {"forwards", branch.counters.forwards},
                           {"rows", branch.counters.rows},
                           {"recomputed_rows", branch.counters.recomputed_rows}}});
}

}  // namespace foresight
