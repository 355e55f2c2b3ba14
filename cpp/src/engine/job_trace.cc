#include "engine/job_trace.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/branch_control.h"

namespace foresight {

namespace {

template <typename T>
void add_field(TraceEvent& event, std::string_view name, T value) {
  TraceField& field = event.fields.emplace_back();
  field.name = name;
  field.value = std::move(value);
}

void add_answer(TraceEvent& event, const std::optional<std::string>& answer) {
  if (answer.has_value()) add_field(event, "answer", *answer);
}

}  // namespace

void JobTrace::request(const Request& request, std::int64_t first_branch, Token mask,
                       const ControlSpec* control) {
  IntList masks;
  for (std::int64_t i = 0; request.canvas_length > 0 && i < std::ssize(request.prompt); ++i) {
    if (request.prompt[static_cast<std::size_t>(i)] == mask) masks.push_back(i);
  }
  TraceEvent event{.kind = "request",
                   .seconds = seconds(),
                   .branch = first_branch,
                   .fields = {{"request", request.index},
                              {"sequences", request.num_sequences},
                              {"max_length", request.max_length},
                              {"seed", std::to_string(request.seed)},
                              {"prompt", int_list(request.prompt)},
                              {"masks", std::move(masks)}}};
  if (control != nullptr) {
    add_field(event, "controller", control->name);
    const Needs needs = control->controller->all_needs();
    add_field(event, "probe_interval", needs.probe_interval);
    if (needs.confidence) add_field(event, "confidence_group", needs.confidence_group);
  }
  sink_->write(event);
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
    if (commit.branch->probed != nullptr) continue;  // told when its branch's controller is
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

void JobTrace::start(const Branch& branch, std::int64_t number, std::int64_t parent,
                     std::int64_t inherited, std::int64_t clock) {
  sink_->write({.kind = "start",
                .seconds = seconds(),
                .branch = branch.trace_index,
                .fields = {{"request", branch.request->index},
                           {"number", number},
                           {"parent", parent},
                           {"inherited", inherited},
                           {"clock", clock}}});
}

void JobTrace::probe(const Branch& branch, std::int64_t num_tokens, std::int64_t probe_tokens,
                     const std::optional<std::string>& answer) {
  TraceEvent event{.kind = "probe",
                   .seconds = seconds(),
                   .branch = branch.trace_index,
                   .fields = {{"num_tokens", num_tokens}, {"probe_tokens", probe_tokens}}};
  add_answer(event, answer);
  sink_->write(event);
}

void JobTrace::confidence(const Branch& branch, std::int64_t num_tokens, double value) {
  sink_->write({.kind = "confidence",
                .seconds = seconds(),
                .branch = branch.trace_index,
                .fields = {{"num_tokens", num_tokens}, {"value", value}}});
}

void JobTrace::end(const Branch& branch, const char* status, std::int64_t num_tokens,
                   std::int64_t clock, const std::string& reason,
                   const std::optional<std::string>& answer) {
  TraceEvent event{.kind = "end",
                   .seconds = seconds(),
                   .branch = branch.trace_index,
                   .fields = {{"status", std::string(status)},
                              {"num_tokens", num_tokens},
                              {"clock", clock},
                              {"reason", reason}}};
  add_answer(event, answer);
  sink_->write(event);
}

void JobTrace::outcome(const Request& request, std::int64_t winner, std::int64_t clock,
                       const std::string& reason, const std::optional<std::string>& answer) {
  TraceEvent event{
      .kind = "outcome",
      .seconds = seconds(),
      .fields = {
          {"request", request.index}, {"winner", winner}, {"clock", clock}, {"reason", reason}}};
  add_answer(event, answer);
  sink_->write(event);
}

}  // namespace foresight
