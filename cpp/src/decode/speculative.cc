// Speculative decoding: guesses of a drafter stand behind the last token, one forward of the target
// tests them all, and those that pass are kept. Exact in law except for `typical` and `synthetic`;
// greedily, and wherever the guesses were certain, token for token what plain decoding writes.
//
// Certain guesses (q is one-hot: lookups, trees, greedy drafters) are tested by drawing the token
// itself and going on where a guess stands that equals it. For them no rule accepts more, and the
// draws are those of plain decoding. Guesses that were drawn from a distribution are tested against
// it: `token` (Leviathan, Kalman and Matias, 2023) one by one, `block` (Sun et al., arXiv
// 2403.10444) together, which accepts at least as many. `match` treats all guesses as certain.
//
// Options: "verification"; "num_tokens", "depth", "width", "dynamic" (DraftShape); "adaptive", with
// "costs", "token_cost", "round_cost" (draft_length.h) and "repeatable": choices must not depend on
// other sequences, since tokens depend on choices; "synthetic_acceptance", "typical_epsilon",
// "typical_delta".
#include <algorithm>
#include <any>
#include <string>
#include <utility>

#include "core/error.h"
#include "decode/draft_length.h"
#include "decode/draft_tree.h"
#include "decode/options.h"
#include "sample/draws.h"

namespace foresight {

namespace {

enum class Rule : std::uint8_t { match, token, block, typical, synthetic };

Rule rule_from(const std::string& name) {
  if (name == "match") return Rule::match;
  if (name == "token") return Rule::token;
  if (name == "block") return Rule::block;
  if (name == "typical") return Rule::typical;
  if (name == "synthetic") return Rule::synthetic;
  throw ValueError(
      concat("verification '", name, "' is not one of block, token, match, typical, synthetic"));
}

struct Settings {
  Rule rule = Rule::block;
  DraftShape shape;
  bool adaptive = false;
  bool repeatable = true;
  Thresholds thresholds;
};

class Speculative final : public Policy {
 public:
  Speculative(const Settings& settings, DraftCost cost)
      : settings_(settings), cost_(std::move(cost)) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&,
                              Role role) const override {
    const auto length = role == Role::target ? view.tokens.size() : view.unconditional.size();
    return static_cast<std::int64_t>(length) - 1;
  }

  std::int64_t peak_slots(std::int64_t max_length) const override {
    return max_length + settings_.shape.num_tokens;
  }

  DraftShape wanted_drafts(const BranchView& view, const PolicyState& state) const override {
    // The forward that tests n guesses gives a token more than it accepts.
    const std::int64_t room = view.max_length - std::ssize(view.tokens) - 1;
    DraftShape shape = settings_.shape;
    shape.depth = std::min(shape.depth, room);
    if (settings_.adaptive && shape.depth > 0)
      shape.depth = length_of(state).choose(shape.depth, cost_, num_decoding(view));
    if (shape.depth <= 0) return {};
    shape.num_tokens = std::min(shape.num_tokens, shape.width * shape.depth);
    return shape;
  }

  Plan plan(const BranchView& view, const PolicyState&) const override {
    Plan plan;
    plan.segments.push_back(segment_of(Role::target, view.tokens, view.drafts));
    add_asks(plan.segments[0], view);
    if (view.unconditional.empty()) return plan;
    plan.segments.push_back(segment_of(Role::unconditional, view.unconditional, view.drafts));
    std::int32_t index = 0;
    for (Row& row : plan.segments[0].rows)
      row.ask.guidance = {.segment = 1, .row = index++, .scale = view.guidance_scale};
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& held, const Plan& plan,
                 Readout& readout) const override {
    std::vector<RowReadout>& answers = readout.segments.at(0);  // every row asks
    Commit commit;
    std::vector<std::int32_t> kept;
    for (std::int32_t row = 0; row >= 0;) {
      kept.push_back(row);
      RowReadout& answer = answers[static_cast<std::size_t>(row)];
      const Token token = answer.token;
      commit.tokens.push_back({token, std::move(answer)});
      row = next_row(view, plan.segments[0], answers, row, token);
    }
    commit.kept_rows.assign(plan.segments.size(), kept);
    commit.drafted_tokens = std::ssize(view.drafts);
    commit.draft_depth = depth_of(view.drafts);
    commit.accepted_tokens = std::ssize(kept) - 1;
    if (settings_.adaptive) note(view, held, commit);
    return commit;
  }

 private:
  static DraftLength length_of(const PolicyState& state) {
    return state.has_value() ? std::any_cast<DraftLength>(state) : DraftLength();
  }

  std::int64_t num_decoding(const BranchView& view) const {
    return settings_.repeatable ? 1 : view.num_decoding;
  }

  void note(const BranchView& view, PolicyState& held, Commit& commit) const {
    DraftLength length = length_of(held);
    const std::int64_t most = settings_.shape.depth;
    const std::int64_t wanted = length.choose(most, cost_, num_decoding(view), &commit.pace);
    if (wanted == 0) {
      length.note_plain();
    } else {
      length.note_tested(commit.draft_depth, commit.accepted_tokens);
    }
    held = length;
  }

  static std::int64_t depth_of(std::span<const DraftNode> nodes) {
    const std::vector<std::int64_t> depths = depths_of(nodes);
    return depths.empty() ? 0 : *std::max_element(depths.begin(), depths.end());
  }

  // The last token, then the guesses: row i + 1 is node i.
  static Segment segment_of(Role role, std::span<const Token> context,
                            std::span<const DraftNode> nodes) {
    const std::int64_t last = std::ssize(context) - 1;
    const std::vector<std::int64_t> depths = depths_of(nodes);
    Segment segment;
    segment.role = role;
    segment.rows.push_back(causal_row(context.back(), last, 0));
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      segment.rows.push_back(
          causal_row(nodes[i].token, last + depths[i], static_cast<std::int32_t>(i) + 1));
    }
    if (!is_chain(nodes)) segment.ancestors = ancestors_of(nodes, 1);
    return segment;
  }

  // Whether the guesses, a chain, are tested against what they were drawn from.
  bool tests(std::span<const DraftNode> nodes) const {
    if (nodes.empty() || settings_.rule == Rule::match) return false;
    if (settings_.rule == Rule::typical || settings_.rule == Rule::synthetic)
      return is_chain(nodes);
    return std::any_of(nodes.begin(), nodes.end(),
                       [](const DraftNode& node) { return node.drawn_from != nullptr; });
  }

  Verification verification() const {
    switch (settings_.rule) {
      case Rule::block:
        return Verification::block;
      case Rule::typical:
        return Verification::typical;
      case Rule::synthetic:
        return Verification::synthetic;
      case Rule::match:
      case Rule::token:
        break;
    }
    return Verification::token;
  }

  void add_asks(Segment& segment, const BranchView& view) const {
    const std::span<const DraftNode> nodes = view.drafts;
    if (!tests(nodes)) {
      segment.rows[0].ask = {.kind = AskKind::sample};
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        segment.rows[i + 1].ask = {
            .kind = AskKind::sample,
            .condition = {.row = nodes[i].parent + 1, .token = nodes[i].token}};
      }
      return;
    }
    FORESIGHT_CHECK(is_chain(nodes), "drawn guesses form a chain");
    const bool joint = settings_.rule == Rule::block;
    for (std::size_t i = 0; i <= nodes.size(); ++i) {
      Ask& ask = segment.rows[i].ask;
      const bool is_last = i == nodes.size();
      ask.kind = is_last && !joint ? AskKind::sample : AskKind::verify;
      ask.verification = verification();
      ask.thresholds = settings_.thresholds;
      ask.token = is_last ? kNoToken : nodes[i].token;
      if (!is_last) ask.drawn_from = nodes[i].drawn_from;
      if (ask.kind == AskKind::verify) ask.draw = draft_draw(static_cast<std::int64_t>(i) + 1);
      if (i > 0 && !joint)
        ask.condition = {.row = static_cast<std::int32_t>(i) - 1, .accepted = true};
    }
  }

  // The row of the guess that was right about what `row` decides; -1: there is none.
  std::int32_t next_row(const BranchView& view, const Segment& segment,
                        const std::vector<RowReadout>& answers, std::int32_t row,
                        Token token) const {
    const std::span<const DraftNode> nodes = view.drafts;
    const auto at = static_cast<std::size_t>(row);
    if (segment.rows[at].ask.kind == AskKind::verify) return answers[at].accepted ? row + 1 : -1;
    for (std::size_t i = at; i < nodes.size(); ++i) {
      if (nodes[i].parent + 1 == row && nodes[i].token == token)
        return static_cast<std::int32_t>(i) + 1;
    }
    return -1;
  }

  Settings settings_;
  DraftCost cost_;
};

}  // namespace

std::unique_ptr<Policy> make_speculative(const PolicyOptions& options) {
  Settings settings{.rule = rule_from(option<std::string>(options, "verification")),
                    .shape = {.num_tokens = option<std::int64_t>(options, "num_tokens"),
                              .depth = option<std::int64_t>(options, "depth"),
                              .width = option<std::int64_t>(options, "width"),
                              .dynamic = option<bool>(options, "dynamic")},
                    .adaptive = option<bool>(options, "adaptive"),
                    .repeatable = option<bool>(options, "repeatable"),
                    .thresholds = {.epsilon = option<double>(options, "typical_epsilon"),
                                   .delta = option<double>(options, "typical_delta"),
                                   .rate = option<double>(options, "synthetic_acceptance")}};
  if (settings.shape.num_tokens < 0 || settings.shape.num_tokens > kMaxDraftTokens) {
    throw ValueError(concat("num_tokens ", settings.shape.num_tokens, " is not between 0 and ",
                            kMaxDraftTokens));
  }
  return std::make_unique<Speculative>(
      settings,
      DraftCost(option<std::vector<std::int64_t>>(options, "costs"),
                option<double>(options, "token_cost"), option<double>(options, "round_cost")));
}

}  // namespace foresight
