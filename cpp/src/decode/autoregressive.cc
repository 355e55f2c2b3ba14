// Plain autoregressive decoding: one row, one token. Exact. Option "confidence" (may be missing):
// what the trace and controllers are told of each token.
#include "decode/options.h"
#include "decode/policies.h"

namespace foresight {

namespace {

class Autoregressive final : public Policy {
 public:
  explicit Autoregressive(Confidence confidence) : confidence_(confidence) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&,
                              Role role) const override {
    const auto length = role == Role::target ? view.tokens.size() : view.unconditional.size();
    return static_cast<std::int64_t>(length) - 1;
  }

  Plan plan(const BranchView& view, const PolicyState&) const override {
    Plan plan;
    Ask ask{.kind = AskKind::sample, .confidence = confidence_};
    if (!view.unconditional.empty())
      ask.guidance = {.segment = 1, .row = 0, .scale = view.guidance_scale};
    plan.segments.push_back(last_token(Role::target, view.tokens, ask));
    if (!view.unconditional.empty()) {
      plan.segments.push_back(last_token(Role::unconditional, view.unconditional, {}));
    }
    return plan;
  }

  Commit advance(const BranchView&, PolicyState&, const Plan& plan,
                 Readout& readout) const override {
    RowReadout& answer = readout.segments.at(0).at(0);
    Commit commit;
    const Token token = answer.token;
    commit.tokens.push_back({token, std::move(answer)});
    commit.kept_rows.assign(plan.segments.size(), {0});
    return commit;
  }

 private:
  static Segment last_token(Role role, std::span<const Token> context, const Ask& ask) {
    Segment segment;
    segment.role = role;
    segment.rows.push_back(
        causal_row(context.back(), static_cast<std::int64_t>(context.size()) - 1, 0, ask));
    return segment;
  }

  Confidence confidence_;
};

}  // namespace

std::unique_ptr<Policy> make_autoregressive(const PolicyOptions& options) {
  return std::make_unique<Autoregressive>(
      options.contains("confidence") ? confidence_option(options, "confidence") : Confidence::none);
}

}  // namespace foresight
