// One token per forward, from left to right, with the next masks in the forward as latent tokens:
// the "AR + MTP" models of He, Welleck and Fried (2026, arXiv 2602.03769). Option "window": how
// many masks see the prefix and each other, the one that is decided included; the end of the
// sequence cuts it. A prefix with causal attention is cached; one with full attention changes with
// every token and is computed anew. Exact.
#include <algorithm>

#include "decode/context_rows.h"
#include "decode/options.h"

namespace foresight {

namespace {

class LatentAutoregressive final : public Policy {
 public:
  explicit LatentAutoregressive(std::int64_t window) : window_(window) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&,
                              Role role) const override {
    return first_row(view, role == Role::target ? view.tokens : view.unconditional);
  }

  Plan plan(const BranchView& view, const PolicyState&) const override {
    Plan plan;
    plan.segments.push_back(segment_of(view, Role::target, view.tokens));
    Ask& ask = plan.segments[0].rows[asking_row(view, view.tokens)].ask;
    ask = {.kind = AskKind::sample,
           .confidence = Confidence::raw_probability,
           .decides = static_cast<std::int32_t>(view.tokens.size())};
    if (view.unconditional.empty()) return plan;
    plan.segments.push_back(segment_of(view, Role::unconditional, view.unconditional));
    plan.segments[0].rows[asking_row(view, view.tokens)].ask.guidance = {
        .segment = 1,
        .row = static_cast<std::int32_t>(asking_row(view, view.unconditional)),
        .scale = view.guidance_scale};
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState&, const Plan& plan,
                 Readout& readout) const override {
    Commit commit;
    RowReadout& answer = readout.segments.at(0).at(0);
    const Token token = answer.token;
    commit.tokens.push_back({token, std::move(answer)});
    for (const Segment& segment : plan.segments) {
      commit.kept_rows.emplace_back();
      if (is_causal(view) && !segment.rows.empty()) commit.kept_rows.back().push_back(0);
    }
    commit.latent_rows = num_masks(view) - (view.model.shifted ? 0 : 1);
    return commit;
  }

 private:
  static bool is_causal(const BranchView& view) {
    return view.model.attention == AttentionKind::causal;
  }
  static std::int64_t first_row(const BranchView& view, std::span<const Token> context) {
    return is_causal(view) ? std::ssize(context) - 1 : 0;
  }
  // A shifted model decides the first one by the row before it.
  std::int64_t num_masks(const BranchView& view) const {
    const std::int64_t left = view.max_length - std::ssize(view.tokens);
    return std::min(window_, left) - (view.model.shifted ? 1 : 0);
  }
  static std::size_t asking_row(const BranchView& view, std::span<const Token> context) {
    const std::int64_t num_clean = std::ssize(context) - first_row(view, context);
    return static_cast<std::size_t>(num_clean - (view.model.shifted ? 1 : 0));
  }

  Segment segment_of(const BranchView& view, Role role, std::span<const Token> context) const {
    Segment segment;
    segment.role = role;
    segment.rows = context_rows(view.model, context, first_row(view, context), std::ssize(context));
    const std::int32_t rank = is_causal(view) ? 1 : 0;
    for (std::int64_t i = 0; i < num_masks(view); ++i) {
      segment.rows.push_back({.token = view.model.mask_token,
                              .position = static_cast<std::int32_t>(std::ssize(context) + i),
                              .rank = rank,
                              .limit = rank});
    }
    return segment;
  }

  std::int64_t window_;
};

}  // namespace

std::unique_ptr<Policy> make_latent_autoregressive(const PolicyOptions& options) {
  return std::make_unique<LatentAutoregressive>(option<std::int64_t>(options, "window"));
}

}  // namespace foresight
