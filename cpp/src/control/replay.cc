#include "control/replay.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/error.h"
#include "core/thread_pool.h"

namespace foresight {

namespace {

// No sum of clocks comes near the end of 64 bits.
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

template <typename T>
void check_rising(const std::string& label, const char* what, const std::vector<T>& entries) {
  std::int64_t last = -1;
  for (const T& entry : entries) {
    if (entry.num_tokens <= last || entry.num_tokens > kMostTokens) {
      throw ValueError(concat(label, ": a ", what, " at ", entry.num_tokens, " tokens, expected ",
                              last + 1, " to ", kMostTokens));
    }
    last = entry.num_tokens;
  }
}

// The entry of a list by rising tokens that was made at num_tokens, or null.
template <typename T>
const T* find_at(const std::vector<T>& entries, std::int64_t num_tokens) {
  const auto found =
      std::lower_bound(entries.begin(), entries.end(), num_tokens,
                       [](const T& entry, std::int64_t at) { return entry.num_tokens < at; });
  return found == entries.end() || found->num_tokens != num_tokens ? nullptr : &*found;
}

void check_order(const RecordedQuestion& question, std::span<const std::int32_t> order) {
  std::vector<bool> taken(question.branches.size(), false);
  for (const std::int32_t branch : order) {
    const auto at = static_cast<std::size_t>(branch);
    if (branch < 0 || at >= taken.size() || taken[at]) {
      throw ValueError(concat(
          question.label, ": an order names branch ", branch,
          branch < 0 || at >= taken.size() ? concat(", but there are ", taken.size()) : " twice"));
    }
    taken[at] = true;
  }
}

}  // namespace

void RecordedQuestion::add(RecordedBranch branch) {
  const std::string name = concat(label, ", branch ", branches.size());
  if (branch.num_tokens < 0 || branch.num_tokens > kMostTokens) {
    throw ValueError(concat(name, ": ", branch.num_tokens, " tokens, expected 0 to ", kMostTokens));
  }
  check_rising(name, "probe", branch.probes);
  check_rising(name, "confidence", branch.confidences);
  branches.push_back(std::move(branch));
}

void RecordedQuestion::check() const {
  if (confidence_group < 0) {
    throw ValueError(
        concat(label, ": confidence group ", confidence_group, ", expected at least 0"));
  }
  if (probe_grid < 0 || probe_grid > kMostTokens) {
    throw ValueError(concat(label, ": probe grid ", probe_grid, ", expected 0 to ", kMostTokens));
  }
}

void RecordedStage::start() {
  if (missing_probes_.size() == order_.size()) {
    throw ValueError(concat(question_.label, ": the controller starts more branches than the ",
                            order_.size(), " that there are to draw from"));
  }
  missing_probes_.push_back(kNone);
}

void RecordedStage::fork(std::int32_t parent, std::int64_t num_tokens) {
  throw ValueError(concat(name_of_branch(parent), ": the controller forks it after ", num_tokens,
                          " tokens, and no fork is recorded; replay such a controller live"));
}

std::optional<Stage::Ending> RecordedStage::ending(std::int32_t branch) {
  const RecordedBranch& recorded = branch_at(branch);
  if (!recorded.is_finished) return std::nullopt;
  Ending ending{.num_tokens = recorded.num_tokens,
                .noticed_at = recorded.num_tokens,
                .answer = recorded.answer};
  if (question_.probe_grid > 0 && needs_.probe_interval > 0) {
    const std::int64_t probed = recorded.probes.empty() ? 0 : recorded.probes.back().num_tokens;
    const std::int64_t last_read = probed / needs_.probe_interval * needs_.probe_interval;
    ending.num_tokens = std::max(ending.num_tokens, last_read);
    ending.noticed_at = last_read + needs_.probe_interval;
  }
  return ending;
}

std::optional<AnswerId> RecordedStage::probe(std::int32_t branch, std::int64_t num_tokens) {
  const ProbeReading* reading = find_at(branch_at(branch).probes, num_tokens);
  if (reading == nullptr) {
    missing_probes_[static_cast<std::size_t>(branch)] = num_tokens;
    return std::nullopt;
  }
  return reading->answer;
}

double RecordedStage::confidence(std::int32_t branch, std::int64_t num_tokens) {
  const std::int64_t group = question_.confidence_group;
  if (group > 0 && group != needs_.confidence_group) {
    throw ValueError(concat(question_.label, ": confidences are recorded of groups of ", group,
                            " tokens, and the controller needs groups of ",
                            needs_.confidence_group));
  }
  const std::vector<RecordedConfidence>& known = branch_at(branch).confidences;
  const auto after = std::upper_bound(
      known.begin(), known.end(), num_tokens,
      [](std::int64_t at, const RecordedConfidence& entry) { return at < entry.num_tokens; });
  if (after == known.begin()) {
    throw ValueError(concat(name_of_branch(branch), ": no confidence is recorded at ", num_tokens,
                            " tokens, and the controller needs it"));
  }
  return std::prev(after)->value;
}

std::int64_t RecordedStage::cache_bytes(std::int32_t branch, std::int64_t) {
  throw ValueError(concat(name_of_branch(branch),
                          ": no cache bytes are recorded, and the controller needs them"));
}

void RecordedStage::throw_missing(std::span<const BranchRecord> branches) const {
  // What holds up the clock is what comes first; a branch that was cut short holds up only what
  // comes after its end.
  std::int32_t first = -1;
  std::int64_t first_clock = INT64_MAX;
  for (std::int32_t i = 0; i < std::ssize(branches); ++i) {
    const BranchRecord& branch = branches[static_cast<std::size_t>(i)];
    const std::int64_t probe = missing_probes_[static_cast<std::size_t>(i)];
    if (!branch.is_running() || (probe == kNone && branch_at(i).is_finished)) continue;
    const std::int64_t clock = branch.start + (probe == kNone ? branch_at(i).num_tokens : probe);
    const bool probe_at_end = clock == first_clock && probe != kNone &&
                              missing_probes_[static_cast<std::size_t>(first)] == kNone;
    if (clock >= first_clock && !probe_at_end) continue;
    first_clock = clock;
    first = i;
  }
  FORESIGHT_CHECK(first >= 0, "a draw of finished branches with all probes comes to an end");
  const std::int64_t probe = missing_probes_[static_cast<std::size_t>(first)];
  if (probe == kNone) {
    throw ValueError(concat(name_of_branch(first), ": the controller needs more than the ",
                            branch_at(first).num_tokens,
                            " tokens that the recorded run let it write"));
  }
  const std::string where = question_.probe_grid > 0
                                ? concat("; they lie at multiples of ", question_.probe_grid)
                                : std::string();
  throw ValueError(
      concat(name_of_branch(first), ": no probe is recorded at ", probe, " tokens", where));
}

std::string RecordedStage::name_of_branch(std::int32_t branch) const {
  return concat(question_.label, ", branch ", order_[static_cast<std::size_t>(branch)]);
}

ReplayDraw replay(const RecordedQuestion& question, std::span<const std::int32_t> order,
                  std::shared_ptr<Controller> controller, std::int64_t probe_cost) {
  check_order(question, order);
  RecordedStage stage(question, order, controller->all_needs());
  Conductor conductor(std::move(controller), stage, EventOrder::virtual_time);
  conductor.run();
  const std::span<const BranchRecord> branches = conductor.branches();
  if (!conductor.done()) stage.throw_missing(branches);
  ReplayDraw draw{.answer = conductor.outcome().answer};
  for (const BranchRecord& branch : branches) {
    const std::int64_t num_probes = std::ssize(branch.probes);
    const std::int64_t charge = branch.num_tokens + num_probes * probe_cost;
    draw.sequential_tokens = std::max(draw.sequential_tokens, branch.start + charge);
    draw.total_tokens += charge;
    draw.probes += num_probes;
  }
  return draw;
}

std::vector<ReplayDraw> replay_draws(const RecordedQuestion& question,
                                     std::span<const std::vector<std::int32_t>> orders,
                                     std::span<const std::shared_ptr<Controller>> controllers,
                                     std::int64_t probe_cost, int num_threads) {
  if (orders.size() != controllers.size())
    throw ValueError(concat(orders.size(), " orders for ", controllers.size(), " controllers"));
  if (probe_cost < 0) throw ValueError(concat("probe cost ", probe_cost, " is negative"));
  std::vector<ReplayDraw> draws(orders.size());
  ThreadPool threads(num_threads);
  threads.parallel_for(draws.size(), [&](std::size_t i, int) {
    draws[i] = replay(question, orders[i], controllers[i], probe_cost);
  });
  return draws;
}

std::optional<AnswerId> full_vote(const RecordedQuestion& question,
                                  std::span<const std::int32_t> order) {
  check_order(question, order);
  std::vector<BranchRecord> ended;
  for (const std::int32_t branch : order) {
    const RecordedBranch& recorded = question.branches[static_cast<std::size_t>(branch)];
    if (!recorded.is_finished) return std::nullopt;
    BranchRecord& record = ended.emplace_back();
    record.status = BranchStatus::finished;
    record.answer = recorded.answer;
  }
  const std::vector<Vote> votes = BranchesView(ended, 0).finished_votes();
  return votes.empty() ? kNoAnswer : votes.front().answer;
}

}  // namespace foresight
