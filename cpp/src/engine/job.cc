#include "engine/job.h"

#include <algorithm>
#include <mutex>

#include "core/error.h"

namespace foresight {

namespace {

// Without a negative prompt the unconditional context is the prompt's last token, as in
// transformers, or with a canvas the prompt with everything masked, as in LLaDA.
std::vector<Token> unconditional_prompt(const RequestSpec& spec, bool has_canvas, Token mask) {
  if (spec.guidance_scale == 1.0f) return {};
  if (!spec.negative_tokens.empty()) return spec.negative_tokens;
  if (has_canvas) return std::vector<Token>(spec.tokens.size(), mask);
  return {spec.tokens.back()};
}

// What every sequence of a request computes in the same way before it decides anything.
std::int64_t shared_length(const ModelConfig& config, const std::vector<Token>& prompt) {
  const auto given = std::find(prompt.begin(), prompt.end(), config.mask_token_id) - prompt.begin();
  switch (config.attention) {
    case AttentionKind::causal:
      return std::ssize(prompt) - 1;
    case AttentionKind::block_causal: {
      // Where the first mask opens a block, a shifted model decides it by a row of the one before.
      const std::int64_t finished = config.shifted && given > 0 ? given - 1 : given;
      return finished / config.block_length * config.block_length;
    }
    case AttentionKind::full:
    case AttentionKind::semi_causal:
      return 0;
  }
  return 0;
}

void add_each(std::vector<std::int64_t>& sums, const std::vector<std::int64_t>& values) {
  if (sums.size() < values.size()) sums.resize(values.size(), 0);
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

}  // namespace

Job::Job(std::shared_ptr<Engine> engine) : engine_(std::move(engine)), driver_(*engine_) {
  caller_.leave();
}

Job::~Job() { close(); }

void Job::close() {
  if (closed_) return;
  closed_ = true;
  const std::lock_guard guard(engine_->step_mutex());
  for (Branch* branch : live_) engine_->remove_tenant(*branch);  // probes among them
  for (Branch& branch : branches_) {
    engine_->remove_tenant(branch);
    if (drafter_ != nullptr) drafter_->forget(branch.id);
  }
  for (Request& request : requests_) engine_->remove_tenant(request.prefix);
}

std::int64_t Job::add(RequestSpec spec) {
  if (closed_) throw ValueError("the job is closed");
  if (spec.tokens.empty()) throw ValueError("the prompt is empty: it needs at least one token");
  if (spec.max_new_tokens < 0)
    throw ValueError(concat("max_new_tokens ", spec.max_new_tokens, " is negative"));
  if (spec.num_sequences < 1)
    throw ValueError(concat("num_sequences ", spec.num_sequences, " is not positive"));
  if (spec.logprobs.has_value() && *spec.logprobs < 0) {
    throw ValueError(concat("logprobs ", *spec.logprobs, " is negative"));
  }
  engine_->check_tokens(spec.tokens);
  engine_->check_tokens(spec.negative_tokens);

  const auto prompt_length = static_cast<std::int64_t>(spec.tokens.size());
  Request request;
  request.index = static_cast<std::int64_t>(requests_.size());
  const ModelConfig& config = engine_->config();
  request.guidance_scale = spec.guidance_scale;
  request.max_length = prompt_length + spec.max_new_tokens;
  request.canvas_length = spec.policy->canvas_length(request.max_length);
  const bool has_canvas = request.canvas_length > 0;
  FORESIGHT_CHECK(!has_canvas || config.mask_token_id != kNoToken, "a canvas needs a mask token");
  request.unconditional_prompt = unconditional_prompt(spec, has_canvas, config.mask_token_id);
  request.shared_length = shared_length(config, spec.tokens);
  request.shares_prompt = spec.num_sequences > 1 || spec.control.has_value();
  request.num_sequences = spec.control.has_value() ? 0 : spec.num_sequences;
  request.num_unfinished = request.num_sequences;
  request.seed = spec.seed;
  request.eos_token_ids = spec.sampling.eos_token_ids;
  request.policy = std::move(spec.policy);
  request.drafter = std::move(spec.drafter);
  spec.sampling.max_length = static_cast<std::int32_t>(request.max_length);
  request.processors =
      make_processors(engine_->context(), spec.sampling, engine_->config().vocab_size,
                      std::move(spec.user_processors), std::move(spec.prefix_processor));
  request.processors_thread_safe =
      std::all_of(request.processors.begin(), request.processors.end(),
                  [](const auto& processor) { return processor->thread_safe(); });
  request.readout = {.do_sample = spec.sampling.do_sample,
                     .top_logprobs = spec.logprobs.value_or(0),
                     .logprobs = spec.logprobs.has_value()};
  request.output_scores = spec.output_scores;
  request.output_logits = spec.output_logits;
  request.keep_readouts = spec.logprobs.has_value() || spec.output_scores || spec.output_logits;
  request.max_seconds = spec.max_seconds;

  std::int64_t length =
      has_canvas ? request.canvas_length : request.policy->peak_slots(request.max_length);
  if (spec.control.has_value()) {
    const ControlSpec& control = *spec.control;
    const std::vector<Token> suffix = control.probe_suffix.value_or(std::vector<Token>{});
    engine_->check_tokens(suffix);
    if (control.max_probe_tokens < 1)
      throw ValueError(concat("max_probe_tokens ", control.max_probe_tokens, " is not positive"));
    if (control.controller->all_needs().probe_interval > 0) {
      length = std::max(length, request.max_length + std::ssize(suffix) + control.max_probe_tokens);
    }
  }
  const std::int64_t unconditional_length =
      request.unconditional_prompt.empty()
          ? 0
          : std::ssize(request.unconditional_prompt) + length - prompt_length;
  const std::int64_t pages = engine_->pages_for(length) + engine_->pages_for(unconditional_length);
  if (pages > engine_->cache().num_pages()) {
    throw CacheFullError(
        concat("a request of up to ", request.max_length, " tokens needs ", pages,
               " pages and can never fit into the cache of ", engine_->cache().num_pages(),
               ": raise kv_cache_bytes (now ",
               static_cast<std::size_t>(engine_->cache().num_pages()) * engine_->page_bytes(),
               ") or lower max_new_tokens"));
  }
  {
    const std::lock_guard guard(engine_->step_mutex());
    if (spec.session != nullptr) spec.session->check_starts(*engine_, spec.tokens);
  }
  request.prompt = std::move(spec.tokens);
  if (request.drafter != nullptr) {
    FORESIGHT_CHECK(drafter_ == nullptr || drafter_ == request.drafter, "a job has one drafter");
    drafter_ = request.drafter;
  }
  requests_.push_back(std::move(request));
  if (trace_) {
    trace_->request(requests_.back(), static_cast<std::int64_t>(branches_.size()),
                    engine_->config().mask_token_id, spec.control ? &*spec.control : nullptr);
  }
  make_branches(requests_.back(), std::move(spec));
  return requests_.back().index;
}

void Job::report(Branch& branch) {
  const std::int64_t request = branch.request->index;
  const std::int64_t total = branch.num_new_tokens();
  const auto known = std::find_if(events_.begin(), events_.end(), [&](const JobEvent& event) {
    return event.request == request && event.sequence == branch.sequence;
  });
  JobEvent& event =
      known != events_.end()
          ? *known
          : events_.emplace_back(JobEvent{
                .request = request, .sequence = branch.sequence, .first_new = branch.reported});
  // finish() may have taken back tokens that were reported.
  event.first_new = std::min(event.first_new, total);
  event.num_new = total - event.first_new;
  // A branch under control has ended once its controller knows.
  event.stop = branch.control != nullptr && !branch.told ? StopReason::none : branch.stop;
  branch.reported = total;
}

void Job::record(const std::vector<StepEvent>& events) {
  for (const StepEvent& event : events) {
    if (event.branch->probed != nullptr) continue;
    if (event.branch->control != nullptr) event.branch->control->observe(event);
    if (!merges_events_) report(*event.branch);
  }
  std::vector<Branch*> finished;
  for (Branch* branch : live_) {
    if (branch->finished()) finished.push_back(branch);
  }
  if (finished.empty()) return;
  const std::lock_guard guard(engine_->step_mutex());
  for (Branch* branch : finished) note_finished(*branch);
}

void Job::check_deadlines() {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  for (Branch* branch : live_) {
    const auto& limit = branch->request->max_seconds;
    const bool late = limit.has_value() && elapsed > *limit && branch->num_new_tokens() > 0;
    if (late && !branch->finished()) branch->stop = StopReason::time;
  }
}

std::vector<JobEvent> Job::advance(Until until, FunctionRef<void()> poll) {
  if (closed_) throw ValueError("the job is closed");
  merges_events_ = until != Until::step;
  struct Visit {
    Presence& caller;
    explicit Visit(Presence& visiting) : caller(visiting) { caller.enter(); }
    ~Visit() { caller.leave(); }
  } visit{caller_};
  const auto begin = Clock::now();
  struct Timer {
    Job& job;
    Clock::time_point begin;
    ~Timer() { job.seconds_ += std::chrono::duration<double>(Clock::now() - begin).count(); }
  } timer{*this, begin};
  const auto any_finished = [&] {
    return std::any_of(events_.begin(), events_.end(),
                       [](const JobEvent& event) { return event.stop != StopReason::none; });
  };
  if (!start_errors_.empty()) {
    const std::exception_ptr error = start_errors_.front();
    start_errors_.pop_front();
    std::rethrow_exception(error);
  }
  std::vector<StepEvent> step_events;
  bool stepped = false;
  while (!done()) {
    if (until == Until::step && stepped) break;
    if (until == Until::finished && any_finished()) break;
    run_controls();
    if (done()) break;
    FORESIGHT_CHECK(!live_.empty(), "a request that is not done has a branch to decode");
    step_events.clear();
    StepOutcome outcome;
    const std::int64_t drafted_before = drafter_ == nullptr ? 0 : drafter_->num_forwards();
    try {
      outcome = driver_.step(live_, step_events, poll);
    } catch (...) {
      record(step_events);  // what the step committed before it threw is real
      throw;
    }
    stepped = true;
    if (outcome.rows > 0) ++step_counters_.forwards;
    preemptions_ += outcome.preemptions;
    forward_seconds_ += outcome.forward_seconds;
    draft_seconds_ += outcome.draft_seconds;
    if (drafter_ != nullptr) draft_forwards_ += drafter_->num_forwards() - drafted_before;
    if (outcome.tested_drafts) verify_seconds_ += outcome.forward_seconds;
    peak_pages_ = std::max(peak_pages_, outcome.used_pages);
    check_deadlines();
    if (trace_) trace_->step(outcome, step_events);
    record(step_events);
  }
  if (trace_) trace_->flush();
  std::vector<JobEvent> events;
  std::swap(events, events_);
  return events;
}

const Request& Job::request_at(std::int64_t request) const {
  if (request < 0 || request >= std::ssize(requests_))
    throw ValueError(concat("there is no request ", request));
  return requests_[static_cast<std::size_t>(request)];
}

Branch& Job::branch_at(std::int64_t request, std::int64_t sequence) {
  const Request& asked = request_at(request);
  if (sequence < 0 || sequence >= asked.num_sequences)
    throw ValueError(concat("there is no sequence ", sequence, " of request ", request));
  return *asked.sequences[static_cast<std::size_t>(sequence)];
}

std::int64_t Job::num_sequences(std::int64_t request) const {
  return request_at(request).num_sequences;
}

std::int64_t Job::num_forwards(std::int64_t request) const { return request_at(request).forwards; }

const BranchControl& Job::control(std::int64_t request) const {
  const auto index = static_cast<std::size_t>(request_at(request).index);
  if (controls_[index] == nullptr)
    throw ValueError(concat("request ", request, " is not under control"));
  return *controls_[index];
}

const Branch& Job::branch(std::int64_t request, std::int64_t sequence) const {
  return const_cast<Job*>(this)->branch_at(request, sequence);
}

void Job::finish(std::int64_t request, std::int64_t sequence, std::int64_t num_new_tokens,
                 StopReason reason) {
  Branch& branch = branch_at(request, sequence);
  if (num_new_tokens < 0 || num_new_tokens > branch.num_new_tokens()) {
    throw ValueError(
        concat("cannot keep ", num_new_tokens, " of ", branch.num_new_tokens(), " new tokens"));
  }
  cut(branch, num_new_tokens);
  const bool was_finished = branch.finished();
  branch.stop = reason;
  if (was_finished) return;
  const std::lock_guard guard(engine_->step_mutex());
  note_finished(branch);
}

Job::Stats Job::stats() const {
  Stats stats;
  for (const Branch& branch : branches_) {
    const std::int64_t forwards = stats.counters.forwards;
    stats.counters += branch.counters;
    stats.counters.forwards = forwards;
    stats.decode_forwards += branch.decode_forwards;
    add_each(stats.drafted_at, branch.drafted_at);
    add_each(stats.accepted_at, branch.accepted_at);
  }
  stats.counters.forwards = step_counters_.forwards;
  stats.counters.draft_forwards = draft_forwards_;
  stats.peak_cache_bytes = peak_pages_ * static_cast<std::int64_t>(engine_->page_bytes());
  stats.preemptions = preemptions_;
  stats.seconds = seconds_;
  stats.forward_seconds = forward_seconds_;
  stats.draft_seconds = draft_seconds_;
  stats.verify_seconds = verify_seconds_;
  return stats;
}

}  // namespace foresight
