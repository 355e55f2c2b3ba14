// The second half of a step: what policies commit goes into the cache, the branches and the events.
#include <algorithm>
#include <cmath>
#include <exception>

#include "core/error.h"
#include "engine/step.h"

namespace foresight {

namespace {

void check_kept_rows(const Plan& plan, const Commit& commit) {
  for (std::size_t s = 0; s < plan.segments.size(); ++s) {
    std::int32_t previous = -1;
    for (const std::int32_t row : commit.kept_rows[s]) {
      FORESIGHT_CHECK(row > previous && row < std::ssize(plan.segments[s].rows),
                      concat("a policy keeps row ", row, " after ", previous, " of ",
                             plan.segments[s].rows.size()));
      previous = row;
    }
  }
}

// What was read about an appended token; with logprobs, its probability where nobody asked more.
double confidence_of(const Request& request, const CommittedToken& committed) {
  const RowReadout& readout = committed.readout;
  const bool knows = request.readout.logprobs && readout.token == committed.token;
  return std::isnan(readout.confidence) && knows ? std::exp(double{readout.raw_logprob})
                                                 : readout.confidence;
}

}  // namespace

void Step::commit(std::vector<StepEvent>& events) {
  std::exception_ptr error;
  try {
    for (WorkItem& item : items_) commit_item(item, events);
  } catch (...) {
    error = std::current_exception();
  }
  // Copies of the items before the one that threw are due all the same.
  try {
    engine_.model().copy_slots(copies_);
  } catch (...) {
    for (const WorkItem& item : items_) {
      engine_.release_pages(*item.branch);
      engine_.release_pages(item.branch->request->prefix);
    }
    if (error == nullptr) error = std::current_exception();
  }
  copies_.clear();
  if (error != nullptr) std::rethrow_exception(error);
}

void Step::commit_item(WorkItem& item, std::vector<StepEvent>& events) {
  Branch& branch = *item.branch;
  Commit commit;
  if (item.planned) {
    const BranchView view = view_of(branch);
    PolicyState state = branch.state;  // a policy that throws has changed nothing
    commit = branch.request->policy->advance(view, state, item.plan, item.readout);
    commit.kept_rows.resize(item.plan.segments.size());
    check_kept_rows(item.plan, commit);
    FORESIGHT_CHECK(!item.segments.empty() || !commit.tokens.empty() || !commit.edits.empty() ||
                        commit.stop != StopReason::none,
                    "a policy planned nothing and does not stop");
    branch.state = std::move(state);
  }
  commit_cache(item, commit);
  if (!item.segments.empty()) count_forward(branch);
  if (item.planned) ++branch.decode_forwards;
  if (branch.request->shares_prompt) share_prefix(branch);
  if (branch.has_canvas()) {
    edit_canvas(branch, commit, events);
  } else {
    append_tokens(branch, commit, events);
  }
  branch.counters.latent_rows += commit.latent_rows;
  branch.counters.candidate_rows += commit.candidate_rows;
  note_drafts(branch, commit);
  for (RowReadout& report : commit.reports) branch.reports.push_back(std::move(report));
  show_states(item, commit);
  if (commit.stop != StopReason::none && !branch.finished()) branch.stop = commit.stop;
  if (branch.finished() && !branch.keeps_cache) engine_.release_pages(branch);
}

void Step::count_forward(Branch& branch) const {
  ++branch.counters.forwards;
  Request& request = *branch.request;
  Request& counted = request.charged_to == nullptr ? request : *request.charged_to;
  if (counted.last_step == number_) return;
  counted.last_step = number_;
  ++counted.forwards;
}

void Step::commit_cache(const WorkItem& item, const Commit& commit) {
  Branch& branch = *item.branch;
  Cache& cache = engine_.cache();
  for (const PackedSegment& segment : item.segments) {
    const Cache::Handle handle = branch.handles[index_of(segment.role)];
    std::vector<std::int32_t> kept;
    std::vector<Cache::Replacement> replacements;
    for (std::int64_t i = 0; i < segment.num_catch_up; ++i)
      kept.push_back(static_cast<std::int32_t>(i));
    if (segment.plan_segment >= 0) {
      const auto s = static_cast<std::size_t>(segment.plan_segment);
      for (const std::int32_t row : commit.kept_rows[s]) {
        const Row& planned = item.plan.segments[s].rows[static_cast<std::size_t>(row)];
        const auto reserved = static_cast<std::int32_t>(segment.num_catch_up + row);
        if (planned.replaces == kNoSlot) {
          kept.push_back(reserved);
        } else {
          replacements.push_back({reserved, planned.replaces});
        }
      }
    }
    cache.commit(handle, kept, replacements, copies_);
    std::int64_t& high_water = branch.high_water[index_of(segment.role)];
    const std::int64_t repeated =
        std::min(high_water, segment.cached + segment.num_catch_up) - segment.cached;
    branch.counters.recomputed_rows += std::max<std::int64_t>(repeated, 0);
    high_water = std::max(high_water, cache.length(handle));
    branch.counters.rows += segment.num_rows();
  }
}

void Step::append_tokens(Branch& branch, Commit& commit, std::vector<StepEvent>& events) {
  const Request& request = *branch.request;
  StepEvent event{.branch = &branch,
                  .first_new = branch.num_new_tokens(),
                  .drafted = commit.drafted_tokens,
                  .accepted = commit.accepted_tokens,
                  .pace = commit.pace};
  for (CommittedToken& committed : commit.tokens) {
    if (branch.finished()) break;
    event.decided.push_back({.position = std::ssize(branch.tokens),
                             .token = committed.token,
                             .confidence = confidence_of(request, committed)});
    branch.tokens.push_back(committed.token);
    if (!branch.unconditional.empty()) branch.unconditional.push_back(committed.token);
    if (request.keep_readouts) branch.readouts.push_back(std::move(committed.readout));
    ++branch.counters.generated_tokens;
    ++event.num_new;
    const auto& eos = request.eos_token_ids;
    if (std::find(eos.begin(), eos.end(), committed.token) != eos.end()) {
      branch.stop = StopReason::eos;
    } else if (static_cast<std::int64_t>(branch.tokens.size()) >= request.max_length) {
      branch.stop = StopReason::length;
    }
  }
  if (event.num_new > 0) events.push_back(std::move(event));
}

// Writes the edits, then counts the new tokens that have become final; the first eos among them
// ends the sequence, unless given tokens stand after it.
void Step::edit_canvas(Branch& branch, Commit& commit, std::vector<StepEvent>& events) {
  const Request& request = *branch.request;
  FORESIGHT_CHECK(commit.tokens.empty(), "tokens are not appended to a canvas");
  StepEvent event{.branch = &branch, .first_new = branch.num_final};
  const auto offset = std::ssize(branch.unconditional) - std::ssize(branch.tokens);
  for (CanvasEdit& edit : commit.edits) {
    const auto at = static_cast<std::size_t>(edit.position);
    FORESIGHT_CHECK(edit.position >= 0 && at < branch.tokens.size(),
                    concat("canvas position ", edit.position));
    branch.tokens[at] = edit.token;
    if (!branch.unconditional.empty())
      branch.unconditional[static_cast<std::size_t>(edit.position + offset)] = edit.token;
    event.decided.push_back({edit.position, edit.token, edit.readout.confidence});
    if (!request.keep_readouts) continue;
    const auto place =
        std::lower_bound(branch.new_positions.begin(), branch.new_positions.end(), edit.position);
    if (place != branch.new_positions.end() && *place == edit.position) {
      const auto index = static_cast<std::size_t>(place - branch.new_positions.begin());
      branch.readouts.resize(branch.new_positions.size());
      branch.readouts[index] = std::move(edit.readout);
    }
  }
  const auto& eos = request.eos_token_ids;
  while (!branch.finished() && branch.num_final < std::ssize(branch.new_positions) &&
         branch.new_position(branch.num_final) < commit.final_length) {
    const std::int64_t position = branch.new_position(branch.num_final);
    const Token token = branch.new_token(branch.num_final);
    ++branch.num_final;
    ++branch.counters.generated_tokens;
    ++event.num_new;
    if (position >= branch.prompt_end && std::find(eos.begin(), eos.end(), token) != eos.end()) {
      branch.stop = StopReason::eos;
    } else if (branch.num_final == std::ssize(branch.new_positions)) {
      branch.stop = StopReason::length;
    }
  }
  if (event.num_new > 0 || !event.decided.empty()) events.push_back(std::move(event));
}

void Step::share_prefix(Branch& branch) {
  Request& request = *branch.request;
  const std::int64_t shared = request.shared_length;
  if (shared == 0 || request.prefix.holds_pages()) return;
  if (branch.cached(engine_.cache(), Role::target) < shared) return;
  request.prefix.handles[index_of(Role::target)] =
      engine_.cache().fork(branch.handles[index_of(Role::target)], shared);
}

}  // namespace foresight
