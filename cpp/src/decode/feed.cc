// Feeds given tokens and reports what the model says on the way: sessions, logits, hidden states
// and scores. Option "ask": "none" | "logits" | "hidden" | "prob_of"; "start": index of the first
// token whose row asks (prob_of: whose probability is asked, by the row before it). Exact.
#include <algorithm>

#include "core/error.h"
#include "decode/context_rows.h"
#include "decode/policies.h"

namespace foresight {

namespace {

// Asking rows come with rows of logits; this many at a time bounds their memory and the step's
// time.
constexpr std::int64_t kRowsPerStep = 32;
// Where every ask costs the whole context again, as many as fit into 64 MiB of logits.
constexpr std::int64_t kLogitElements = std::int64_t{1} << 24;

class Feed final : public Policy {
 public:
  Feed(AskKind ask, std::int64_t start) : ask_(ask), start_(start) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState& state,
                              Role) const override {
    return context_start(view.model, next_row(view, state));
  }

  Plan plan(const BranchView& view, const PolicyState& state) const override {
    const std::int64_t next = next_row(view, state);
    const std::int64_t last = std::min(next + rows_per_step(view), num_rows(view));
    Plan plan;
    if (next >= last) return plan;
    const std::int64_t begin = context_start(view.model, next);
    Segment& segment = plan.segments.emplace_back();
    segment.rows = context_rows(view.model, view.tokens, begin,
                                context_end(view.model, last, std::ssize(view.tokens)));
    for (std::int64_t i = next; i < last; ++i) {
      Ask& ask = segment.rows[static_cast<std::size_t>(i - begin)].ask;
      ask.kind = ask_;
      if (ask_ == AskKind::prob_of) ask.token = view.tokens[static_cast<std::size_t>(i + 1)];
    }
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& state, const Plan& plan,
                 Readout& readout) const override {
    Commit commit;
    std::int64_t next = next_row(view, state);
    if (!plan.segments.empty()) {
      std::vector<RowReadout>& answers = readout.segments.front();
      next += std::ssize(answers);
      for (RowReadout& answer : answers) commit.reports.push_back(std::move(answer));
      // Rows stay that see nothing of what may still come.
      const std::int64_t begin = plan.segments.front().rows.front().position;
      std::vector<std::int32_t>& kept = commit.kept_rows.emplace_back();
      for (std::int64_t i = begin; i < context_start(view.model, next); ++i)
        kept.push_back(static_cast<std::int32_t>(i - begin));
    }
    state = next;
    if (next >= num_rows(view)) commit.stop = StopReason::length;
    return commit;
  }

 private:
  // Rows to compute: scoring does not need the last token's.
  std::int64_t num_rows(const BranchView& view) const {
    return std::ssize(view.tokens) - (ask_ == AskKind::prob_of ? 1 : 0);
  }

  static std::int64_t rows_per_step(const BranchView& view) {
    const bool whole = view.model.attention == AttentionKind::full ||
                       view.model.attention == AttentionKind::semi_causal;
    return whole ? std::max(kRowsPerStep, kLogitElements / view.model.vocab_size) : kRowsPerStep;
  }

  std::int64_t next_row(const BranchView& view, const PolicyState& state) const {
    if (state.has_value()) return std::any_cast<std::int64_t>(state);
    if (ask_ == AskKind::none) return num_rows(view);
    return ask_ == AskKind::prob_of ? start_ - 1 : start_;
  }

  AskKind ask_;
  std::int64_t start_;
};

AskKind ask_from_name(const std::string& name) {
  if (name == "none") return AskKind::none;
  if (name == "logits") return AskKind::logits;
  if (name == "hidden") return AskKind::hidden;
  if (name == "prob_of") return AskKind::prob_of;
  throw ValueError(concat("ask '", name, "' is not one of none, logits, hidden, prob_of"));
}

}  // namespace

std::unique_ptr<Policy> make_feed(const PolicyOptions& options) {
  const auto ask = ask_from_name(std::get<std::string>(options.at("ask")));
  const auto start = std::get<std::int64_t>(options.at("start"));
  if (start < (ask == AskKind::prob_of ? 1 : 0))
    throw ValueError(concat("start ", start, " is too small"));
  return std::make_unique<Feed>(ask, start);
}

}  // namespace foresight
