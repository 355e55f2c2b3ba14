#include "control/conductor.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace foresight {

Conductor::Conductor(std::shared_ptr<Controller> controller, Stage& stage, EventOrder order)
    : controller_(std::move(controller)),
      stage_(stage),
      order_(order),
      needs_(controller_->all_needs()) {
  if (needs_.interval < 0) throw ValueError(concat("interval ", needs_.interval, " is negative"));
  if (needs_.probe_interval < 0)
    throw ValueError(concat("probe interval ", needs_.probe_interval, " is negative"));
  if (needs_.interval > 0) next_interval_ = needs_.interval;
}

void Conductor::run() {
  if (done()) return;
  if (!has_begun_) begin();
  for (std::int32_t i = 0; i < size(); ++i) {
    if (record(i).is_running()) look(i);
  }
  while (!done()) {
    const std::int32_t first = first_event();
    const std::int64_t event_clock = first < 0 ? kNever : track(first).next_event;
    // Events of the interval's own clock come before it.
    const bool is_interval = next_interval_ < event_clock;
    const std::int64_t clock = is_interval ? next_interval_ : event_clock;
    if (clock == kNever || !is_due(clock)) return;
    if (is_interval) {
      clock_ = std::max(clock_, clock);
      tell_interval();
    } else if (!tell_event(first)) {
      return;
    }
  }
}

void Conductor::begin() {
  has_begun_ = true;
  Actions actions;
  controller_->on_start(view(), actions);
  obey(actions);
  if (!done() && branches_.empty()) throw ValueError("the controller starts no branch");
  conclude_if_idle();
}

// Brings what is known of a running branch up to date.
void Conductor::look(std::int32_t branch) {
  const BranchRecord& seen = record(branch);
  Track& known = track(branch);
  const std::int64_t num_tokens = stage_.num_tokens(branch);
  known.is_starved = stage_.is_starved(branch);
  known.horizon = clock_of(seen, num_tokens);
  known.next_event = kNever;
  known.event_is_ending = false;
  if (const auto ending = stage_.ending(branch)) {
    known.next_event = known.horizon = clock_of(seen, ending->noticed_at);
    known.event_is_ending = true;
  }
  const std::int64_t probe = std::min(known.next_probe, known.asked_probe);
  if (probe == kNever) return;
  const bool is_reached =
      known.event_is_ending ? clock_of(seen, probe) < known.next_event : probe <= num_tokens;
  if (!is_reached) return;
  known.next_event = clock_of(seen, probe);
  known.event_is_ending = false;
  const bool is_answered = stage_.probe(branch, probe).has_value();  // what takes time begins now
  if (is_answered || !known.is_starved || order_ == EventOrder::virtual_time) return;
  // The probe waits for memory as its branch does: nobody waits for it.
  known.next_event = kNever;
  known.horizon = clock_of(seen, probe) - 1;
}

std::int32_t Conductor::first_event() const {
  std::int32_t first = -1;
  std::int64_t clock = kNever;
  for (std::int32_t i = 0; i < size(); ++i) {
    if (track(i).next_event >= clock) continue;
    clock = track(i).next_event;
    first = i;
  }
  return first;
}

bool Conductor::is_due(std::int64_t clock) const {
  bool some_came_so_far = false;
  for (std::int32_t i = 0; i < size(); ++i) {
    if (!record(i).is_running()) continue;
    const Track& known = track(i);
    if (known.next_event != kNever || known.horizon >= clock) {
      some_came_so_far = true;
    } else if (order_ == EventOrder::virtual_time || !known.is_starved) {
      return false;
    }
  }
  // The clock does not run on while all that run wait for memory.
  return some_came_so_far;
}

bool Conductor::tell_event(std::int32_t branch) {
  Track& known = track(branch);
  Actions actions;
  const std::int64_t event_clock = known.next_event;
  if (known.event_is_ending) {
    const auto ending = stage_.ending(branch);
    FORESIGHT_CHECK(ending.has_value(), "a branch that has ended stays so");
    clock_ = std::max(clock_, event_clock);
    update_records();
    BranchRecord& seen = record(branch);
    seen.status = BranchStatus::finished;
    seen.num_tokens = ending->num_tokens;
    seen.answer = ending->answer;
    if (needs_.confidence) seen.confidence = stage_.confidence(branch, ending->num_tokens);
    known.next_event = kNever;
    controller_->on_finish(view(), branch, actions);
  } else {
    const std::int64_t num_tokens = std::min(known.next_probe, known.asked_probe);
    const auto answer = stage_.probe(branch, num_tokens);
    if (!answer.has_value()) return false;
    clock_ = std::max(clock_, event_clock);
    update_records();
    BranchRecord& seen = record(branch);
    seen.answer = *answer;
    seen.probes.push_back({num_tokens, *answer});
    if (known.next_probe == num_tokens) known.next_probe += needs_.probe_interval;
    if (known.asked_probe == num_tokens) known.asked_probe = kNever;
    controller_->on_probe(view(), branch, actions);
    if (record(branch).is_running()) look(branch);
  }
  obey(actions);
  conclude_if_idle();
  return true;
}

void Conductor::tell_interval() {
  update_records();
  next_interval_ += needs_.interval;
  Actions actions;
  controller_->on_interval(view(), actions);
  obey(actions);
  conclude_if_idle();
}

// Brings the running branches' records to the clock.
void Conductor::update_records() {
  bool some_starve = false;
  for (std::int32_t i = 0; i < size(); ++i) {
    BranchRecord& seen = record(i);
    if (!seen.is_running()) continue;
    const Track& known = track(i);
    some_starve = some_starve || (known.is_starved && known.horizon < clock_);
    seen.num_tokens = std::min(clock_, known.horizon) - seen.start + seen.inherited;
    // A running branch has none before it has a whole group.
    if (needs_.confidence && seen.num_tokens >= needs_.confidence_group)
      seen.confidence = stage_.confidence(i, seen.num_tokens);
    if (needs_.cache_bytes) seen.cache_bytes = stage_.cache_bytes(i, seen.num_tokens);
  }
  if (some_starve) ++num_early_events_;
}

void Conductor::obey(Actions& actions) {
  for (Action& action : actions.list()) {
    if (done()) return;
    switch (action.kind) {
      case Action::Kind::start:
        if (action.count < 0) throw ValueError(concat("start of ", action.count, " branches"));
        for (std::int64_t n = 0; n < action.count; ++n) {
          add_branch(-1, 0);
          stage_.start();
          look(size() - 1);
        }
        break;
      case Action::Kind::fork: {
        check_running(action.branch, "fork");
        const std::int64_t num_tokens = record(action.branch).num_tokens;
        add_branch(action.branch, num_tokens);
        stage_.fork(action.branch, num_tokens);
        look(size() - 1);
        break;
      }
      case Action::Kind::probe: {
        check_running(action.branch, "probe");
        const BranchRecord& seen = record(action.branch);
        // A controller that asks whenever it is answered would stop the clock.
        if (!seen.probes.empty() && seen.probes.back().num_tokens == seen.num_tokens) {
          throw ValueError(concat("probe(", action.branch, "): the branch was probed at its ",
                                  seen.num_tokens, " tokens already"));
        }
        track(action.branch).asked_probe = seen.num_tokens;
        look(action.branch);
        break;
      }
      case Action::Kind::prune:
        check_running(action.branch, "prune");
        end_branch(action.branch, BranchStatus::pruned, std::move(action.reason));
        break;
      case Action::Kind::stop:
        conclude(action.answer, std::move(action.reason));
        break;
    }
  }
}

void Conductor::add_branch(std::int32_t parent, std::int64_t inherited) {
  BranchRecord added;
  added.parent = parent;
  added.start = clock_;
  added.inherited = inherited;
  added.num_tokens = inherited;
  if (parent >= 0) added.answer = record(parent).answer;
  branches_.push_back(std::move(added));
  Track& known = tracks_.emplace_back();
  if (needs_.probe_interval > 0)
    known.next_probe = (inherited / needs_.probe_interval + 1) * needs_.probe_interval;
}

void Conductor::end_branch(std::int32_t branch, BranchStatus status, std::string reason) {
  BranchRecord& ended = record(branch);
  ended.status = status;
  ended.reason = std::move(reason);
  track(branch).next_event = kNever;
  stage_.end(branch, status, ended.num_tokens);
}

void Conductor::check_running(std::int32_t branch, const char* action) const {
  if (branch < 0 || branch >= size())
    throw ValueError(concat(action, "(", branch, "): there are branches 0 to ", size() - 1));
  if (!record(branch).is_running()) {
    throw ValueError(concat(action, "(", branch, "): the branch is ",
                            name_of(record(branch).status), ", it does not run"));
  }
}

void Conductor::conclude_if_idle() {
  if (!done() && view().num_with(BranchStatus::running) == 0) conclude(kNoAnswer, "");
}

void Conductor::conclude(AnswerId answer, std::string reason) {
  Outcome outcome;
  outcome.clock = clock_;
  outcome.reason = std::move(reason);
  for (std::int32_t i = 0; i < size(); ++i) {
    if (record(i).is_running()) end_branch(i, BranchStatus::stopped, outcome.reason);
  }
  outcome.votes = controller_->votes(view());
  outcome.answer = answer;
  if (answer == kNoAnswer && !outcome.votes.empty()) outcome.answer = outcome.votes.front().answer;
  outcome.winner = winner_of(branches_, outcome.answer);
  outcome_ = std::move(outcome);
}

std::int32_t Conductor::winner_of(std::span<const BranchRecord> branches, AnswerId answer) {
  std::int32_t winner = -1;
  int best_rank = 0;
  std::int64_t best_tokens = 0;
  for (std::int32_t i = 0; i < std::ssize(branches); ++i) {
    const BranchRecord& branch = branches[static_cast<std::size_t>(i)];
    const bool agrees = answer != kNoAnswer && branch.answer == answer;
    int rank = 1;
    if (agrees && branch.status != BranchStatus::pruned) rank = 3;
    if (branch.is_finished()) ++rank;
    // Of those that agree the first one stands, of the others the longest.
    const bool better = winner < 0 || rank > best_rank ||
                        (rank == best_rank && rank < 3 && branch.num_tokens > best_tokens);
    if (!better) continue;
    winner = i;
    best_rank = rank;
    best_tokens = branch.num_tokens;
  }
  return winner;
}

}  // namespace foresight
