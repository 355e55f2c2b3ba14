#include "engine/reading.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "decode/policies.h"
#include "decode/read_masked.h"
#include "engine/driver.h"

namespace foresight {

namespace {

// Branches that end by themselves and report. Their pages, and their requests', go as soon as they
// have.
class Readers {
 public:
  explicit Readers(Engine& engine) : engine_(engine) {}
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;
  ~Readers() {
    const std::lock_guard guard(engine_.step_mutex());
    for (Branch& branch : branches_) engine_.remove_tenant(branch);
    for (Request& request : requests_) engine_.remove_tenant(request.prefix);
  }

  // The first shared_length tokens of its branches are computed once.
  Request& add_request(std::shared_ptr<const Policy> policy, std::int64_t max_length,
                       std::int64_t shared_length = 0) {
    Request& request = requests_.emplace_back();
    request.policy = std::move(policy);
    request.max_length = max_length;
    request.shared_length = shared_length;
    request.num_sequences = 0;
    request.num_unfinished = 0;
    request.prefix.order = engine_.next_order();
    request.prefix.idle = true;
    const std::lock_guard guard(engine_.step_mutex());
    engine_.add_tenant(request.prefix);
    return request;
  }

  Branch& add_branch(Request& request, std::vector<Token> tokens) {
    Branch& branch = branches_.emplace_back();
    branch.request = &request;
    branch.sequence = request.num_sequences++;
    ++request.num_unfinished;
    request.shares_prompt = request.num_sequences > 1;
    branch.tokens = std::move(tokens);
    branch.order = engine_.next_order();
    branch.id = branch.order;
    const std::lock_guard guard(engine_.step_mutex());
    engine_.add_tenant(branch);
    return branch;
  }

  void run(FunctionRef<void()> poll) {
    std::vector<Branch*> live;
    for (Branch& branch : branches_) {
      if (!branch.finished()) live.push_back(&branch);
    }
    Driver driver(engine_);
    std::vector<StepEvent> events;
    while (driver.step(live, events, poll).progressed) {
      const std::lock_guard guard(engine_.step_mutex());
      std::erase_if(live, [&](Branch* branch) {
        if (!branch->finished()) return false;
        engine_.remove_tenant(*branch);
        if (--branch->request->num_unfinished == 0) engine_.remove_tenant(branch->request->prefix);
        return true;
      });
    }
  }

 private:
  Engine& engine_;
  std::deque<Request> requests_;  // stable addresses
  std::deque<Branch> branches_;
};

std::vector<ScoredToken> scored(const Branch& branch) {
  std::vector<ScoredToken> tokens;
  for (const RowReadout& report : branch.reports)
    tokens.push_back({report.raw_logprob, report.is_argmax, report.max_prob});
  return tokens;
}

void check(const Engine& engine, const MaskedRead& read, std::size_t index) {
  const ModelConfig& config = engine.config();
  engine.check_tokens(read.canvas);
  engine.check_tokens(read.targets);
  engine.check_fits(std::ssize(read.canvas));
  if (read.positions.size() != read.targets.size()) {
    throw ValueError(concat("canvas ", index, ": ", read.targets.size(), " tokens for ",
                            read.positions.size(), " positions"));
  }
  std::vector<bool> seen(read.canvas.size(), false);
  const auto check_masks = [&](const std::vector<std::int32_t>& positions, std::int32_t first) {
    std::fill(seen.begin(), seen.end(), false);
    for (const std::int32_t position : positions) {
      const auto at = static_cast<std::size_t>(position);
      if (position < first || at >= read.canvas.size() || seen[at] ||
          read.canvas[at] != config.mask_token_id) {
        throw ValueError(concat("canvas ", index, ": position ", position,
                                " is not a mask that can be read, or is named twice"));
      }
      seen[at] = true;
    }
  };
  check_masks(read.positions, config.shifted ? 1 : 0);
  if (read.order.empty()) return;
  if (config.attention != AttentionKind::semi_causal)
    throw ValueError("only the masks of semi-causal models have an order");
  check_masks(read.order, 0);
  const auto num_masks = std::count(read.canvas.begin(), read.canvas.end(), config.mask_token_id);
  if (std::ssize(read.order) != num_masks) {
    throw ValueError(
        concat("canvas ", index, ": an order of ", read.order.size(), " of ", num_masks, " masks"));
  }
}

ReadTask task_of(const ModelFacts& model, MaskedRead& read) {
  ReadTask task;
  task.context = clean_context(model, read.canvas, read.positions);
  task.positions = std::move(read.positions);
  task.targets = std::move(read.targets);
  task.order = std::move(read.order);
  if (model.attention == AttentionKind::semi_causal && task.order.empty()) {
    for (std::size_t i = 0; i < read.canvas.size(); ++i) {
      if (read.canvas[i] == model.mask_token) task.order.push_back(static_cast<std::int32_t>(i));
    }
  }
  return task;
}

}  // namespace

ScoredTokens score(Engine& engine, const std::vector<std::vector<Token>>& sequences,
                   const std::vector<std::int64_t>& starts, FunctionRef<void()> poll) {
  if (sequences.size() != starts.size()) {
    throw ValueError(concat(sequences.size(), " sequences and ", starts.size(), " starts"));
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t size = std::ssize(sequences[i]);
    engine.check_tokens(sequences[i]);
    if (starts[i] < 1 || starts[i] > size) {
      throw ValueError(
          concat("start ", starts[i], " of sequence ", i, " is outside [1, ", size, "]"));
    }
    engine.check_fits(size);
  }
  Readers readers(engine);
  std::vector<Branch*> branches;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t size = std::ssize(sequences[i]);
    Request& request = readers.add_request(
        make_policy("feed", {{"ask", std::string("prob_of")}, {"start", starts[i]}}), size);
    branches.push_back(&readers.add_branch(request, sequences[i]));
    if (starts[i] == size) branches.back()->stop = StopReason::length;
  }
  readers.run(poll);
  ScoredTokens scores;
  for (const Branch* branch : branches) scores.push_back(scored(*branch));
  return scores;
}

ScoredTokens read_masked(Engine& engine, std::vector<MaskedRead> reads, FunctionRef<void()> poll) {
  const ModelConfig& config = engine.config();
  if (config.mask_token_id == kNoToken)
    throw ValueError("the model has no mask token: there are no masks to read");
  for (std::size_t i = 0; i < reads.size(); ++i) check(engine, reads[i], i);

  const ModelFacts model = facts_of(config);
  const std::shared_ptr<const Policy> policy = make_policy("read_masked", {});
  std::vector<ReadTask> tasks;
  for (MaskedRead& read : reads) tasks.push_back(task_of(model, read));
  // Canvases with the same clean context, and the same rotary embedding, share it.
  using Context = std::pair<std::int64_t, std::vector<Token>>;
  std::map<Context, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < reads.size(); ++i) {
    const auto& canvas = reads[i].canvas;
    const std::int64_t length = std::ssize(canvas);
    const std::int64_t scaled =
        std::max(config.rope_full.scaled_length(length), config.rope_sliding.scaled_length(length));
    groups[{scaled, {canvas.begin(), canvas.begin() + tasks[i].context}}].push_back(i);
  }
  Readers readers(engine);
  std::vector<Branch*> branches(reads.size());
  for (const auto& [context, members] : groups) {
    const std::int64_t length = std::ssize(reads[members.front()].canvas);
    Request& request = readers.add_request(policy, length, std::ssize(context.second));
    for (const std::size_t i : members) {
      branches[i] = &readers.add_branch(request, std::move(reads[i].canvas));
      branches[i]->state = std::move(tasks[i]);
    }
  }
  readers.run(poll);
  ScoredTokens answers;
  for (const Branch* branch : branches) answers.push_back(scored(*branch));
  return answers;
}

}  // namespace foresight
