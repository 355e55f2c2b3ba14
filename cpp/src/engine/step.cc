#include "engine/step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>

#include "core/error.h"
#include "engine/packer.h"

namespace foresight {

namespace {

constexpr std::array<Role, 2> kTargetRoles{Role::target, Role::unconditional};

// Rows of logits of one step are bounded to 256 MiB of float32.
constexpr std::int64_t kMaxLogitElements = std::int64_t{1} << 26;
// Branches that compute many rows in every step (a canvas) share a forward up to this many: beyond
// it rows cost what they cost, and callers would wait longer for each step.
constexpr std::int64_t kMaxPlannedRows = 2048;

bool uses(const Branch& branch, Role role) {
  return role == Role::target || !branch.unconditional.empty();
}

std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

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

StepOutcome Step::run(std::span<Branch* const> branches, std::vector<StepEvent>& events) {
  if (engine_.in_step()) {
    throw ValueError(
        "a processor or policy called the model that was calling it: it must not decode with it");
  }
  struct Transaction {
    Step& step;
    explicit Transaction(Step& open) : step(open) { step.engine_.set_in_step(true); }
    ~Transaction() {
      step.close_transaction();
      step.engine_.set_in_step(false);
    }
  } transaction{*this};
  const auto start = Clock::now();
  const std::int64_t preemptions_before = engine_.num_preemptions();
  items_.clear();
  copies_.clear();
  rows_in_step_ = 0;
  asks_in_step_ = 0;
  forward_seconds_ = 0.0;
  draft_seconds_ = 0.0;
  schedule(branches);
  if (items_.empty()) {
    const Branch& oldest = *branches.front();
    if (!engine_.older_tenants_hold_pages(oldest.order)) {
      throw CacheFullError(
          concat("a request of ", oldest.tokens.size(), " tokens does not fit into the cache of ",
                 engine_.cache().num_pages() * engine_.cache().page_slots(), " tokens"));
    }
    return {};
  }
  engine_.note_used_pages();
  const std::int64_t used_pages = engine_.cache().num_used_pages();
  const bool tests_drafts = std::any_of(items_.begin(), items_.end(), [](const WorkItem& item) {
    return item.planned && !item.branch->drafts.nodes.empty();
  });
  forward();
  commit(events);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  engine_.chunk_budget().observe(rows_in_step_, seconds);
  return {.progressed = true,
          .rows = rows_in_step_,
          .seconds = seconds,
          .forward_seconds = forward_seconds_,
          .draft_seconds = draft_seconds_,
          .tested_drafts = tests_drafts,
          .used_pages = used_pages,
          .preemptions = engine_.num_preemptions() - preemptions_before};
}

// Branches that are ready to decode come first, then prefill and resumed ones fill the chunk.
void Step::schedule(std::span<Branch* const> branches) {
  // Work items must not move: the forward batch points into them.
  items_.reserve(branches.size());
  ready_.clear();
  waiting_.clear();
  for (Branch* branch : branches) (is_ready(*branch) ? ready_ : waiting_).push_back(branch);
  draft();
  for (Branch* branch : ready_) {
    if (rows_in_step_ < kMaxPlannedRows) try_add(*branch, 0);
  }
  const std::int64_t end = rows_in_step_ + engine_.chunk_budget().rows_beside(rows_in_step_);
  for (Branch* branch : waiting_) {
    const std::int64_t left = end - rows_in_step_;
    if (left <= 0 && !items_.empty()) break;
    if (!branch->holds_pages()) {
      if (waits_for_prompt(*branch)) continue;
      if (!admit(*branch)) break;
    }
    try_add(*branch, std::max<std::int64_t>(left, 1));
  }
}

void Step::draft() {
  draft_tasks_.clear();
  Drafter* drafter = nullptr;
  for (Branch* branch : ready_) {
    const Request& request = *branch->request;
    const std::int64_t length = std::ssize(branch->tokens);
    if (request.drafter == nullptr || branch->drafts.length == length) continue;
    FORESIGHT_CHECK(drafter == nullptr || drafter == request.drafter.get(),
                    "a job has one drafter");
    drafter = request.drafter.get();
    const DraftShape shape = request.policy->wanted_drafts(view_of(*branch), branch->state);
    branch->drafts = {.nodes = {}, .length = length};
    if (shape.num_tokens == 0) continue;
    draft_tasks_.push_back({.branch = branch->id,
                            .request = static_cast<std::uint64_t>(request.prefix.order),
                            .tokens = branch->tokens,
                            .prompt_length = branch->prompt_length,
                            .shape = shape,
                            .processors = &request.processors,
                            .do_sample = request.readout.do_sample,
                            .key = branch->key});
  }
  if (draft_tasks_.empty()) return;
  const auto start = Clock::now();
  // A drafter that throws leaves no half-made guesses behind.
  struct Undo {
    std::vector<Branch*>& ready;
    bool is_done = false;
    ~Undo() {
      for (Branch* branch : ready) {
        if (!is_done) branch->drafts = {};
      }
    }
  } undo{ready_};
  drafter->propose(draft_tasks_);
  auto task = draft_tasks_.begin();
  for (Branch* branch : ready_) {
    if (task == draft_tasks_.end() || task->branch != branch->id) continue;
    branch->drafts.nodes = std::move(task->nodes);
    branch->counters.draft_forwards += task->forwards;
    ++task;
  }
  undo.is_done = true;
  draft_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
}

BranchView Step::view_of(const Branch& branch) const {
  BranchView view = branch.view(engine_.config(), engine_.cache());
  view.num_decoding = std::max<std::int64_t>(std::ssize(ready_), 1);
  return view;
}

bool Step::is_ready(Branch& branch) {
  Cache& cache = engine_.cache();
  bool ready = branch.holds_pages();
  const BranchView view = view_of(branch);
  for (const Role role : kTargetRoles) {
    if (!uses(branch, role)) continue;
    const std::int64_t required = branch.request->policy->required_cache(view, branch.state, role);
    const Cache::Handle handle = branch.handles[index_of(role)];
    const std::int64_t cached = branch.cached(cache, role);
    if (cached > required) cache.truncate(handle, required);
    ready = ready && cached >= required;
  }
  return ready;
}

// One sequence of a request computes the prompt, the others wait for it and share its pages.
bool Step::waits_for_prompt(const Branch& branch) const {
  const Request& request = *branch.request;
  if (request.shared_length == 0 || request.num_sequences == 1 || request.prefix.holds_pages())
    return false;
  return std::any_of(items_.begin(), items_.end(),
                     [&](const WorkItem& item) { return item.branch->request == &request; });
}

// Whether a branch without pages may start (again) now. Starting too early only makes it the next
// victim, so it waits until its tokens and one more page per running branch fit.
bool Step::admit(const Branch& branch) const {
  if (items_.empty()) return true;
  std::int64_t needed = static_cast<std::int64_t>(items_.size());
  for (const Role role : kTargetRoles) {
    if (uses(branch, role))
      needed += engine_.pages_for(static_cast<std::int64_t>(branch.context(role).size()) + 1);
  }
  if (branch.request->prefix.holds_pages()) {
    needed -= engine_.pages_for(branch.request->shared_length) - 1;
  }
  return needed <= engine_.cache().num_free_pages() || needed <= engine_.num_available_pages();
}

void Step::open_handles(Branch& branch) {
  Cache& cache = engine_.cache();
  for (const Role role : kTargetRoles) {
    Cache::Handle& handle = branch.handles[index_of(role)];
    if (!uses(branch, role) || handle != Cache::kNoHandle) continue;
    const Cache::Handle shared = branch.request->prefix.handles[index_of(role)];
    handle = shared == Cache::kNoHandle ? cache.create() : cache.fork(shared, cache.length(shared));
    branch.high_water[index_of(role)] =
        std::max(branch.high_water[index_of(role)], cache.length(handle));
  }
}

bool Step::try_add(Branch& branch, std::int64_t catch_up_budget) {
  const bool held_pages = branch.holds_pages();
  bool is_added = false;
  struct Undo {
    Step& step;
    Branch& branch;
    const bool& is_added;
    bool held_pages;
    ~Undo() {
      if (is_added) return;
      branch.pinned = false;
      if (!held_pages) step.engine_.release_pages(branch);
    }
  } undo{*this, branch, is_added, held_pages};
  branch.pinned = true;  // planning may call back into Python, where anything may happen
  open_handles(branch);
  is_added = build(branch, catch_up_budget);
  return is_added;
}

// How many of `missing` rows this step computes. Rows of a block see each other, so a block is
// never split.
std::int64_t Step::catch_up_rows(std::int64_t cached, std::int64_t missing,
                                 std::int64_t budget) const {
  if (missing <= 0 || budget <= 0) return 0;
  const std::int64_t taken = std::min(missing, budget);
  const ModelConfig& config = engine_.config();
  if (config.attention == AttentionKind::causal || taken == missing) return taken;
  FORESIGHT_CHECK(config.attention == AttentionKind::block_causal,
                  "only causal and block-causal tokens can be computed on their own");
  const std::int64_t whole = (cached + taken) / config.block_length * config.block_length - cached;
  return whole > 0 ? whole : std::min(missing, config.block_length - cached % config.block_length);
}

bool Step::build(Branch& branch, std::int64_t catch_up_budget) {
  const Policy& policy = *branch.request->policy;
  const BranchView view = view_of(branch);
  WorkItem item;
  item.branch = &branch;
  bool complete = true;
  for (const Role role : kTargetRoles) {
    if (!uses(branch, role)) continue;
    const std::int64_t cached = branch.cached(engine_.cache(), role);
    const std::int64_t missing = policy.required_cache(view, branch.state, role) - cached;
    const std::int64_t taken = catch_up_rows(cached, missing, catch_up_budget);
    complete = complete && taken >= missing;
    catch_up_budget -= taken;
    item.segments.push_back({.role = role, .cached = cached, .num_catch_up = taken});
  }
  std::int64_t asks = 0;
  if (complete) {
    item.plan = policy.plan(view, branch.state);
    item.planned = true;
    bool replaces = false;
    for (std::size_t s = 0; s < item.plan.segments.size(); ++s) {
      const Segment& segment = item.plan.segments[s];
      const auto packed =
          std::find_if(item.segments.begin(), item.segments.end(), [&](const PackedSegment& other) {
            return other.role == segment.role && other.plan_segment < 0;
          });
      FORESIGHT_CHECK(packed != item.segments.end(),
                      "at most one planned segment per role of the branch");
      packed->plan_segment = static_cast<std::int32_t>(s);
      packed->num_planned = static_cast<std::int64_t>(segment.rows.size());
      for (const Row& row : segment.rows) {
        if (row.replaces != kNoSlot) packed->replaced.push_back(row.replaces);
        replaces = replaces || row.replaces != kNoSlot;
        asks += row.ask.kind == AskKind::none ? 0 : (row.ask.guidance.segment >= 0 ? 2 : 1);
      }
      std::sort(packed->replaced.begin(), packed->replaced.end());
      const auto last = std::unique(packed->replaced.begin(), packed->replaced.end());
      packed->replaced.erase(last, packed->replaced.end());
    }
    if (replaces && item.num_catch_up() > 0) {
      // Catch-up rows must see the slots that planned rows hide, so these come in the next step.
      for (PackedSegment& segment : item.segments) segment.drop_planned();
      item.planned = false;
      item.plan = {};
      asks = 0;
    }
  }
  std::erase_if(item.segments,
                [](const PackedSegment& segment) { return segment.num_rows() == 0; });
  if (!item.planned && item.segments.empty()) return false;
  const bool too_many = (asks_in_step_ + asks) * engine_.config().vocab_size > kMaxLogitElements;
  if (too_many && !items_.empty()) return false;
  // Part of the transaction from here on, whatever reserve() throws.
  items_.push_back(std::move(item));
  if (!reserve(items_.back())) {
    items_.pop_back();
    return false;
  }
  rows_in_step_ += items_.back().num_rows();
  asks_in_step_ += asks;
  return true;
}

// Reserves the rows of all roles, taking pages from younger tenants when none are free.
bool Step::reserve(WorkItem& item) {
  Cache& cache = engine_.cache();
  const Branch& branch = *item.branch;
  for (std::size_t s = 0; s < item.segments.size(); ++s) {
    const PackedSegment& segment = item.segments[s];
    const Cache::Handle handle = branch.handles[index_of(segment.role)];
    while (!cache.reserve(handle, segment.num_rows(), segment.replaced, copies_)) {
      if (engine_.preempt_for(branch.order)) continue;
      for (std::size_t done = 0; done < s; ++done) {
        cache.rollback(branch.handles[index_of(item.segments[done].role)]);
      }
      return false;
    }
  }
  return true;
}

void Step::forward() {
  engine_.model().copy_slots(copies_);
  copies_.clear();
  batch_.clear();
  for (WorkItem& item : items_) pack(item, engine_.config(), engine_.cache(), batch_);
  reader_.collect(items_, batch_);
  if (batch_.tokens.empty()) return;
  want_states();
  const auto start = Clock::now();
  result_ = engine_.model().forward(batch_);
  forward_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
  const ModelConfig& config = engine_.config();
  reader_.read(engine_.context(), config.vocab_size, config.hidden_size, result_, batch_);
}

// Rows of the target of branches whose drafter looks at hidden states.
void Step::want_states() {
  for (WorkItem& item : items_) {
    item.first_state = -1;
    const Drafter* drafter = item.branch->request->drafter.get();
    if (drafter == nullptr) continue;
    const std::vector<std::int32_t> layers = drafter->hidden_layers();
    if (layers.empty()) continue;
    FORESIGHT_CHECK(batch_.hidden_layers.empty() || batch_.hidden_layers == layers,
                    "hidden states of the same layers for all rows of a step");
    batch_.hidden_layers = layers;
    const PackedSegment* target = item.segment_of(Role::target);
    if (target == nullptr) continue;
    item.first_state = std::ssize(batch_.hidden_rows);
    for (std::int64_t i = 0; i < target->num_rows(); ++i)
      batch_.hidden_rows.push_back(static_cast<std::int32_t>(target->first_row + i));
  }
}

void Step::show_states(const WorkItem& item, const Commit& commit) {
  if (item.first_state < 0 || item.branch->finished()) return;
  const Branch& branch = *item.branch;
  const PackedSegment& target = *item.segment_of(Role::target);
  const auto size =
      static_cast<std::size_t>(engine_.config().hidden_size) * batch_.hidden_layers.size();
  states_.clear();
  const auto keep = [&](std::int64_t row) {
    const float* from = result_.hidden + static_cast<std::size_t>(item.first_state + row) * size;
    states_.insert(states_.end(), from, from + size);
  };
  for (std::int64_t i = 0; i < target.num_catch_up; ++i) keep(i);
  if (target.plan_segment >= 0) {
    for (const std::int32_t row : commit.kept_rows[static_cast<std::size_t>(target.plan_segment)])
      keep(target.num_catch_up + row);
  }
  branch.request->drafter->observe(
      {.branch = branch.id,
       .tokens = branch.tokens,
       .first_position = target.cached,
       .num_positions = static_cast<std::int64_t>(states_.size() / size),
       .hidden = states_.data()});
}

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
  if (!item.segments.empty()) ++branch.counters.forwards;
  if (item.planned) ++branch.decode_forwards;
  if (branch.request->num_sequences > 1) share_prefix(branch);
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

void Step::note_drafts(Branch& branch, const Commit& commit) {
  branch.counters.drafted_tokens += commit.drafted_tokens;
  branch.counters.accepted_tokens += commit.accepted_tokens;
  const auto depth = static_cast<std::size_t>(commit.draft_depth);
  if (branch.drafted_at.size() < depth) {
    branch.drafted_at.resize(depth, 0);
    branch.accepted_at.resize(depth, 0);
  }
  for (std::size_t i = 0; i < depth; ++i) {
    ++branch.drafted_at[i];
    if (static_cast<std::int64_t>(i) < commit.accepted_tokens) ++branch.accepted_at[i];
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

void Step::close_transaction() {
  for (WorkItem& item : items_) {
    for (const PackedSegment& segment : item.segments) {
      const Cache::Handle handle = item.branch->handles[index_of(segment.role)];
      if (handle != Cache::kNoHandle && engine_.cache().in_step(handle))
        engine_.cache().rollback(handle);
    }
    item.branch->pinned = false;
  }
}

}  // namespace foresight
