#include "engine/step.h"

#include <algorithm>
#include <array>

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
  ++number_;
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

// Probes come first, since a controller waits for them; then branches that are ready to decode;
// then prefill and resumed ones fill the chunk.
void Step::schedule(std::span<Branch* const> branches) {
  // Work items must not move: the forward batch points into them.
  items_.reserve(branches.size());
  probes_.clear();
  ready_.clear();
  waiting_.clear();
  for (Branch* branch : branches) {
    if (branch->probed != nullptr) adopt_pages(*branch);
    const bool ready = is_ready(*branch);
    const bool shares = branch->probed != nullptr && branch->holds_pages();
    (shares ? probes_ : (ready ? ready_ : waiting_)).push_back(branch);
  }
  draft();
  const std::int64_t most = engine_.chunk_budget().rows_beside(0);
  for (Branch* probe : probes_) {
    if (rows_in_step_ < most) try_add(*probe, most - rows_in_step_);
  }
  for (Branch* branch : ready_) {
    if (rows_in_step_ < kMaxPlannedRows) try_add(*branch, 0);
  }
  const std::int64_t end = rows_in_step_ + engine_.chunk_budget().rows_beside(rows_in_step_);
  bool is_full = false;
  for (Branch* branch : waiting_) {
    const std::int64_t left = end - rows_in_step_;
    if (left <= 0 && !items_.empty()) break;
    if (!branch->holds_pages()) {
      if (is_full || waits_for_prompt(*branch)) continue;
      is_full = !admit(*branch);
      if (is_full) continue;
    }
    if (try_add(*branch, std::max<std::int64_t>(left, 1))) branch->starved = false;
  }
  if (!is_full) return;
  for (Branch* branch : waiting_) branch->starved = branch->starved || !branch->holds_pages();
}

// A probe begins with what its branch has cached. No transaction may be open yet.
void Step::adopt_pages(Branch& probe) {
  Cache::Handle& handle = probe.handles[index_of(Role::target)];
  const Cache::Handle source = probe.probed->handles[index_of(Role::target)];
  if (handle != Cache::kNoHandle || source == Cache::kNoHandle) return;
  Cache& cache = engine_.cache();
  // The branch may have gone on by now.
  handle = cache.fork(source,
                      std::min({cache.length(source), probe.num_copied, probe.prompt_length - 1}));
  std::int64_t& high_water = probe.high_water[index_of(Role::target)];
  high_water = std::max(high_water, cache.length(handle));
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
  if (request.shared_length == 0 || !request.shares_prompt || request.prefix.holds_pages())
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
  if (branch.request->shared_prefix().holds_pages())
    needed -= engine_.pages_for(branch.request->shared_prefix_length()) - 1;
  return needed <= engine_.cache().num_free_pages() || needed <= engine_.num_available_pages();
}

void Step::open_handles(Branch& branch) {
  Cache& cache = engine_.cache();
  for (const Role role : kTargetRoles) {
    Cache::Handle& handle = branch.handles[index_of(role)];
    if (!uses(branch, role) || handle != Cache::kNoHandle) continue;
    const Cache::Handle shared = branch.request->shared_prefix().handles[index_of(role)];
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
