#include "engine/job_trace.h"

#include <algorithm>
#include <cmath>

namespace foresight {

void JobTrace::request(const Request& request, std::int64_t first_branch, Token mask) {
  IntList masks;
  for (std::int64_t i = 0; request.canvas_length > 0 && i < std::ssize(request.prompt); ++i) {
    if (request.prompt[static_cast<std::size_t>(i)] == mask) masks.push_back(i);
  }
  sink_->write({.kind = "request",
                .seconds = seconds(),
                .branch = first_branch,
                .fields = {{"request", request.index},
                           {"sequences", request.num_sequences},
                           {"max_length", request.max_length},
                           {"seed", std::to_string(request.seed)},
                           {"prompt", int_list(request.prompt)},
                           {"masks", std::move(masks)}}});
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
    IntList positions;
    IntList tokens;
    std::vector<double> confidences;
    for (const Decided& decided : commit.decided) {
      positions.push_back(decided.position);
      tokens.push_back(decided.token);
      confidences.push_back(decided.confidence);
    }
    if (std::all_of(confidences.begin(), confidences.end(), [](double c) { return std::isnan(c); }))
      confidences.clear();
    sink_->write({.kind = "commit",
                  .seconds = seconds(),
                  .step = step_,
                  .branch = commit.branch->trace_index,
                  .fields = {{"positions", std::move(positions)},
                             {"tokens", std::move(tokens)},
                             {"confidences", std::move(confidences)},
                             {"final", commit.first_new + commit.num_new}}});
    if (commit.branch->request->drafter != nullptr) drafts(commit);
  }
  ++step_;
}

// What was guessed and what of it was right; and, where a rule chose how much to guess, the
// acceptance and the tokens per time (plain decoding is 1) that it expected; -1 where none did.
void JobTrace::drafts(const StepEvent& commit) {
  const auto known = [](double value) { return std::isnan(value) ? -1.0 : value; };
  sink_->write({.kind = "drafts",
                .seconds = seconds(),
                .step = step_,
                .branch = commit.branch->trace_index,
                .fields = {{"drafted", commit.drafted},
                           {"accepted", commit.accepted},
                           {"expected_acceptance", known(commit.pace.acceptance)},
                           {"expected_speed", known(commit.pace.speed)}}});
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
