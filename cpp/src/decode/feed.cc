// Feeds given tokens and reports what the model says on the way: sessions, logits, hidden states
// and scores. Option "ask": "none" | "logits" | "hidden" | "prob_of"; "start": index of the first
// token whose row asks (prob_of: whose probability is asked, by the row before it). Exact.
#include <algorithm>

#include "core/error.h"
#include "decode/policies.h"

namespace foresight {

namespace {

// Asking rows come with rows of logits; this many at a time bounds their memory and the step's
// time.
constexpr std::int64_t kRowsPerStep = 32;

class Feed final : public Policy {
 public:
  Feed(AskKind ask, std::int64_t start) : ask_(ask), start_(start) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState& state,
                              Role) const override {
    return next_row(view, state);
  }

  Plan plan(const BranchView& view, const PolicyState& state) const override {
    const std::int64_t begin = next_row(view, state);
    const std::int64_t end = std::min(begin + kRowsPerStep, num_rows(view));
    Plan plan;
    if (begin >= end) return plan;
    Segment& segment = plan.segments.emplace_back();
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      Ask ask{.kind = ask_};
      if (ask_ == AskKind::prob_of) ask.token = view.tokens[at + 1];
      segment.rows.push_back(
          causal_row(view.tokens[at], i, static_cast<std::int32_t>(i - begin), ask));
    }
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& state, const Plan& plan,
                 Readout& readout) const override {
    Commit commit;
    std::int64_t next = next_row(view, state);
    for (std::size_t s = 0; s < plan.segments.size(); ++s) {
      std::vector<std::int32_t>& kept = commit.kept_rows.emplace_back();
      for (std::size_t i = 0; i < plan.segments[s].rows.size(); ++i)
        kept.push_back(static_cast<std::int32_t>(i));
      next += static_cast<std::int64_t>(kept.size());
      for (RowReadout& answer : readout.segments[s]) commit.reports.push_back(std::move(answer));
    }
    state = next;
    if (next >= num_rows(view)) commit.stop = StopReason::length;
    return commit;
  }

 private:
  // Rows to compute: scoring does not need the last token's.
  std::int64_t num_rows(const BranchView& view) const {
    return static_cast<std::int64_t>(view.tokens.size()) - (ask_ == AskKind::prob_of ? 1 : 0);
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
