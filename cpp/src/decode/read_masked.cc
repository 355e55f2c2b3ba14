// Reads the probabilities of given tokens at masked positions of a canvas. Exact. The task is in
// the branch's state (ReadTask); a branch without one has nothing to read.
#include "decode/read_masked.h"

#include <algorithm>

#include "core/error.h"
#include "decode/context_rows.h"
#include "decode/policies.h"

namespace foresight {

namespace {

// Positions read in one step: their rows of logits are bounded to 256 MiB.
constexpr std::int64_t kLogitElements = std::int64_t{1} << 26;

class ReadMasked final : public Policy {
 public:
  std::int64_t required_cache(const BranchView&, const PolicyState& state, Role) const override {
    return state.has_value() ? task_of(state).context : 0;
  }

  Plan plan(const BranchView& view, const PolicyState& state) const override {
    Plan plan;
    if (!state.has_value()) return plan;
    const ReadTask& task = task_of(state);
    const std::size_t end = reads_end(view, task);
    std::int64_t last = 0;  // the last row that reads
    for (std::size_t i = task.num_read; i < end; ++i) last = std::max(last, reader(view, task, i));
    std::vector<Row>& rows = plan.segments.emplace_back().rows;
    const bool ranked = view.model.attention == AttentionKind::semi_causal;
    const std::int64_t length = std::ssize(view.tokens);
    rows = ranked ? ranked_rows(view, task, end)
                  : context_rows(view.model, view.tokens, task.context,
                                 context_end(view.model, last + 1, length));
    const std::vector<std::int32_t> row_at = rows_by_position(rows, length);
    for (std::size_t i = task.num_read; i < end; ++i) {
      const std::int32_t row = row_at[static_cast<std::size_t>(reader(view, task, i))];
      FORESIGHT_CHECK(row >= 0, concat("no row reads position ", task.positions[i]));
      rows[static_cast<std::size_t>(row)].ask = {
          .kind = AskKind::prob_of, .token = task.targets[i], .decides = task.positions[i]};
    }
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& state, const Plan& plan,
                 Readout& readout) const override {
    Commit commit;
    commit.stop = StopReason::length;
    if (!state.has_value()) return commit;
    ReadTask task = task_of(state);
    const std::size_t begin = task.num_read;
    task.num_read = reads_end(view, task);
    // Answers stand in the order of their rows, reports in that of the task.
    std::vector<std::size_t> answer_of(view.tokens.size());
    std::size_t answer = 0;
    for (const Row& row : plan.segments.front().rows) {
      if (row.ask.kind != AskKind::none)
        answer_of[static_cast<std::size_t>(row.ask.decides)] = answer++;
    }
    for (std::size_t i = begin; i < task.num_read; ++i) {
      const auto position = static_cast<std::size_t>(task.positions[i]);
      commit.reports.push_back(std::move(readout.segments.front()[answer_of[position]]));
    }
    if (task.num_read < task.positions.size()) commit.stop = StopReason::none;
    state = std::move(task);
    return commit;
  }

 private:
  static const ReadTask& task_of(const PolicyState& state) {
    return *std::any_cast<ReadTask>(&state);
  }
  static std::size_t reads_end(const BranchView& view, const ReadTask& task) {
    const std::int64_t most = std::max<std::int64_t>(1, kLogitElements / view.model.vocab_size);
    return std::min(task.positions.size(), task.num_read + static_cast<std::size_t>(most));
  }
  // The position whose row says what stands at the i-th position of the task.
  static std::int64_t reader(const BranchView& view, const ReadTask& task, std::size_t i) {
    return task.positions[i] - (view.model.shifted ? 1 : 0);
  }

  static std::vector<std::int32_t> rows_by_position(const std::vector<Row>& rows,
                                                    std::int64_t length) {
    std::vector<std::int32_t> row_at(static_cast<std::size_t>(length), -1);
    for (std::size_t i = 0; i < rows.size(); ++i)
      row_at[static_cast<std::size_t>(rows[i].position)] = static_cast<std::int32_t>(i);
    return row_at;
  }

  // Clean rows, then the masks in their order up to the last one that reads: those after it would
  // change nothing.
  static std::vector<Row> ranked_rows(const BranchView& view, const ReadTask& task,
                                      std::size_t end) {
    std::vector<bool> reads(view.tokens.size(), false);
    for (std::size_t i = task.num_read; i < end; ++i)
      reads[static_cast<std::size_t>(reader(view, task, i))] = true;
    std::vector<Row> rows;
    for (std::size_t i = 0; i < view.tokens.size(); ++i) {
      if (view.tokens[i] != view.model.mask_token)
        rows.push_back({.token = view.tokens[i], .position = static_cast<std::int32_t>(i)});
    }
    std::size_t num_masks = task.order.size();
    while (num_masks > 0 && !reads[static_cast<std::size_t>(task.order[num_masks - 1])])
      --num_masks;
    for (std::size_t i = 0; i < num_masks; ++i) {
      const auto rank = static_cast<std::int32_t>(i + 1);
      rows.push_back(
          {.token = view.model.mask_token, .position = task.order[i], .rank = rank, .limit = rank});
    }
    return rows;
  }
};

}  // namespace

std::int64_t clean_context(const ModelFacts& model, std::span<const Token> canvas,
                           std::span<const std::int32_t> positions) {
  std::int64_t first = std::find(canvas.begin(), canvas.end(), model.mask_token) - canvas.begin();
  for (const std::int32_t position : positions)
    first = std::min<std::int64_t>(first, position - (model.shifted ? 1 : 0));
  return context_start(model, first);
}

std::unique_ptr<Policy> make_read_masked(const PolicyOptions&) {
  return std::make_unique<ReadMasked>();
}

}  // namespace foresight
