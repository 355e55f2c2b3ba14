// The making and ending of a job's branches, by requests and by controllers.
#include <algorithm>
#include <mutex>

#include "core/error.h"
#include "engine/job.h"

namespace foresight {

void Job::spread_canvas(Branch& branch, Token mask) {
  const Request& request = *branch.request;
  const auto added = static_cast<std::size_t>(request.canvas_length - branch.prompt_length);
  for (std::int64_t i = 0; i < branch.prompt_length; ++i) {
    if (branch.tokens[static_cast<std::size_t>(i)] == mask) {
      branch.new_positions.push_back(static_cast<std::int32_t>(i));
    } else {
      branch.prompt_end = i + 1;
    }
  }
  for (std::int64_t i = branch.prompt_length; i < request.max_length; ++i)
    branch.new_positions.push_back(static_cast<std::int32_t>(i));
  branch.tokens.resize(branch.tokens.size() + added, mask);
  if (!branch.unconditional.empty())
    branch.unconditional.resize(branch.unconditional.size() + added, mask);
}

void Job::make_branches(Request& request, RequestSpec spec) {
  const bool is_controlled = spec.control.has_value();
  controls_.emplace_back();
  request.prefix.order = engine_->next_order();
  request.prefix.idle = true;
  {
    const std::lock_guard guard(engine_->step_mutex());
    engine_->add_tenant(request.prefix);
    for (std::int64_t i = 0; i < request.num_sequences; ++i) make_branch(request);
  }
  if (is_controlled) {
    BranchHost& host = *this;
    controls_.back() = std::make_unique<BranchControl>(std::move(*spec.control), request, host,
                                                       trace_ ? &*trace_ : nullptr);
    ++num_unfinished_;
    try {
      run_control(*controls_.back());
    } catch (...) {
      start_errors_.push_back(std::current_exception());
    }
  } else {
    num_unfinished_ += static_cast<std::size_t>(request.num_sequences);
  }
  const std::lock_guard guard(engine_->step_mutex());
  // Further sequences share what the first one has computed.
  const bool has_branch = !request.sequences.empty() && !request.sequences.front()->finished();
  if (spec.session != nullptr && has_branch) {
    Branch& first = *request.sequences.front();
    const Cache::Handle handle =
        spec.session->fork_cache(first.prompt_length - 1, request.max_length);
    first.handles[index_of(Role::target)] = handle;
    if (handle != Cache::kNoHandle)
      first.high_water[index_of(Role::target)] = engine_->cache().length(handle);
  }
  if (is_controlled) return;
  for (Branch* branch : request.sequences) {
    if (!is_complete(*branch)) continue;
    branch->stop = StopReason::length;
    note_finished(*branch);
  }
}

// Whether there is nothing to decide.
bool Job::is_complete(const Branch& branch) {
  return branch.has_canvas() ? branch.num_final == std::ssize(branch.new_positions)
                             : std::ssize(branch.tokens) == branch.request->max_length;
}

// From the prompt. Under the engine's lock.
Branch& Job::make_branch(Request& request) {
  const std::int64_t number = std::ssize(request.sequences);
  Branch& branch = branches_.emplace_back();
  branch.trace_index = std::ssize(branches_) - 1;
  branch.order = engine_->next_order();
  branch.id = branch.order;
  branch.caller = &caller_;
  branch.request = &request;
  branch.sequence = number;
  branch.tokens = request.prompt;
  branch.unconditional = request.unconditional_prompt;
  branch.prompt_length = std::ssize(request.prompt);
  if (branch.has_canvas()) spread_canvas(branch, engine_->config().mask_token_id);
  const RngKey root{.seed = request.seed};
  branch.key = number == 0 ? root
                           : root.fork(static_cast<std::uint64_t>(branch.prompt_length),
                                       static_cast<std::uint64_t>(number));
  request.sequences.push_back(&branch);
  engine_->add_tenant(branch);
  live_.push_back(&branch);
  return branch;
}

Branch& Job::add_branch(Request& request, const Branch* parent, std::int64_t num_new_tokens) {
  const std::lock_guard guard(engine_->step_mutex());
  Branch& branch = make_branch(request);
  ++request.num_sequences;
  branch.control = controls_[static_cast<std::size_t>(request.index)].get();
  if (parent != nullptr) inherit(branch, *parent, num_new_tokens);
  if (!branch.finished() && is_complete(branch)) branch.stop = StopReason::length;
  if (branch.finished()) note_finished(branch);
  return branch;
}

// The branch goes on from the parent's first new tokens. Under the engine's lock.
void Job::inherit(Branch& branch, const Branch& parent, std::int64_t num_new_tokens) {
  const Request& request = *branch.request;
  const auto kept = [&](const std::vector<Token>& context, std::size_t prompt_length) {
    const auto length = prompt_length + static_cast<std::size_t>(num_new_tokens);
    return std::vector<Token>(context.begin(),
                              context.begin() + static_cast<std::ptrdiff_t>(length));
  };
  branch.tokens = kept(parent.tokens, request.prompt.size());
  branch.num_copied = std::ssize(branch.tokens);
  // A copy of all of a branch that has ended has ended too.
  if (num_new_tokens == parent.num_new_tokens()) branch.stop = parent.stop;
  if (!parent.unconditional.empty())
    branch.unconditional = kept(parent.unconditional, request.unconditional_prompt.size());
  if (!parent.readouts.empty()) {
    branch.readouts.assign(parent.readouts.begin(), parent.readouts.begin() + num_new_tokens);
  }
  // What a policy remembers belongs to the tokens that it has seen.
  if (parent.tokens.size() == branch.tokens.size()) branch.state = parent.state;
  branch.key = parent.key.fork(static_cast<std::uint64_t>(std::ssize(branch.tokens)),
                               static_cast<std::uint64_t>(branch.sequence));
  branch.reported = num_new_tokens;
  for (int role = 0; role < kNumRoles; ++role) {
    const auto r = static_cast<std::size_t>(role);
    const Cache::Handle handle = parent.handles[r];
    const std::int64_t length = std::ssize(branch.context(static_cast<Role>(role)));
    branch.high_water[r] = std::min(parent.high_water[r], length);
    if (handle == Cache::kNoHandle) continue;
    branch.handles[r] =
        engine_->cache().fork(handle, std::min(engine_->cache().length(handle), length - 1));
  }
}

void Job::cut(Branch& branch, std::int64_t num_new_tokens) {
  if (branch.has_canvas()) {
    branch.num_final = num_new_tokens;
  } else {
    branch.tokens.resize(static_cast<std::size_t>(branch.prompt_length + num_new_tokens));
  }
  if (!branch.readouts.empty()) branch.readouts.resize(static_cast<std::size_t>(num_new_tokens));
  branch.counters.generated_tokens = num_new_tokens - branch.num_inherited();
}

void Job::end_branch(Branch& branch, std::int64_t num_new_tokens) {
  const bool was_finished = branch.finished();
  cut(branch, num_new_tokens);
  branch.stop = StopReason::controller;
  if (!was_finished) {
    const std::lock_guard guard(engine_->step_mutex());
    note_finished(branch);
  }
  note_told(branch);
}

void Job::note_told(Branch& branch) {
  branch.told = true;
  report(branch);
}

void Job::add_probe(Branch& probe) {
  engine_->check_fits(probe.request->max_length);
  const std::lock_guard guard(engine_->step_mutex());
  probe.id = engine_->next_order();
  probe.caller = &caller_;
  engine_->add_tenant(probe);
  const auto place = std::upper_bound(
      live_.begin(), live_.end(), probe.order,
      [](std::uint64_t order, const Branch* branch) { return order < branch->order; });
  live_.insert(place, &probe);
}

void Job::remove_probe(Branch& probe) {
  const std::lock_guard guard(engine_->step_mutex());
  engine_->remove_tenant(probe);
  std::erase(live_, &probe);
}

std::int64_t Job::cache_bytes(const Branch& branch, std::int64_t num_new_tokens) const {
  const std::int64_t shared = branch.prompt_length / engine_->cache().page_slots();
  const std::int64_t pages = engine_->pages_for(branch.prompt_length + num_new_tokens) - shared;
  return pages * static_cast<std::int64_t>(engine_->page_bytes());
}

void Job::note_finished(Branch& branch) {
  engine_->remove_tenant(branch);
  std::erase(live_, &branch);
  if (branch.probed != nullptr) return;
  if (drafter_ != nullptr) {
    if (!branch.has_canvas()) drafter_->learn(branch.id, branch.tokens, branch.prompt_length);
    drafter_->forget(branch.id);
  }
  if (branch.control != nullptr) return;
  if (trace_) trace_->finish(branch);
  report(branch);
  --num_unfinished_;
  Request& request = *branch.request;
  if (--request.num_unfinished == 0) engine_->remove_tenant(request.prefix);
}

void Job::run_controls() {
  // What they call may take its time, and may want pages for calls of its own.
  struct Absence {
    Presence& caller;
    explicit Absence(Presence& leaving) : caller(leaving) { caller.leave(); }
    ~Absence() { caller.enter(); }
  } absence{caller_};
  for (const auto& control : controls_) {
    if (control != nullptr && !control->done()) run_control(*control);
  }
}

void Job::run_control(BranchControl& control) {
  struct Booking {
    Job& job;
    BranchControl& control;
    ~Booking() {
      if (!control.done()) return;
      --job.num_unfinished_;
      const std::lock_guard guard(job.engine_->step_mutex());
      job.engine_->remove_tenant(
          job.requests_[static_cast<std::size_t>(control.request().index)].prefix);
    }
  } booking{*this, control};
  control.run();
}

}  // namespace foresight
