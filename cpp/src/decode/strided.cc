// Introspective strided decoding: a causal model that was trained to predict from masks as well
// (I-DLM, arXiv 2604.11035) drafts for itself. A forward tests the drafts of the last round on
// clean rows, whose distribution p is the model's own, and makes the next ones on mask rows, whose
// distribution q reaches further ahead.
//
// Options: "stride" N, the most tokens of a round, or 0: chosen by the running acceptance; "exact";
// "row_cost" (stride.h). docs/strided.md.
//   exact      a group of N - 1 masks stands behind every prefix of the drafts, so the next drafts
//              are there whatever is rejected: the first mask stands where the corrected token
//              goes. Drafts are drawn from q: the law, and greedily the tokens, of plain decoding.
//              A position may be drafted again with the same random number, so no row that outlives
//              a rejection may have seen the drafts behind it.
//   published  masks behind the last draft only; after a rejection a round drafts anew. Drafts are
//              the most likely tokens, tested as though drawn.
#include <algorithm>
#include <utility>

#include "decode/options.h"
#include "decode/stride.h"

namespace foresight {

namespace {

struct Draft {
  Token token = kNoToken;
  KeptDistribution drawn_from;
};

struct State {
  // Of the next positions of a sequence of `length` tokens, by the random numbers of `key`.
  std::vector<Draft> drafts;
  std::int64_t length = 0;
  RngKey key;
  RunningAcceptance acceptance;
};

// The rows of a round: the clean ones, which are the last token and the drafts, then the groups:
// group k of group_sizes[k] masks behind the first k drafts.
struct Round {
  std::int64_t num_drafts = 0;
  std::int64_t num_clean = 0;  // without the last draft where nothing may follow it
  std::vector<std::int64_t> group_sizes;

  std::int64_t group_start(std::int64_t group) const {
    std::int64_t start = num_clean;
    for (std::int64_t k = 0; k < group; ++k) start += group_sizes[static_cast<std::size_t>(k)];
    return start;
  }
  std::int64_t num_rows() const { return group_start(num_drafts + 1); }
  bool is_chain() const { return group_start(num_drafts) == num_clean; }
};

class Strided final : public Policy {
 public:
  Strided(std::int64_t stride, StrideCost cost) : stride_(stride), cost_(cost) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&,
                              Role role) const override {
    const auto length = role == Role::target ? view.tokens.size() : view.unconditional.size();
    return static_cast<std::int64_t>(length) - 1;
  }

  std::int64_t peak_slots(std::int64_t max_length) const override {
    const std::int64_t stride = stride_ == 0 ? kMaxStride : stride_;
    return max_length + (cost_.exact ? stride * stride : 2 * stride);
  }

  Plan plan(const BranchView& view, const PolicyState& held) const override {
    const State state = state_of(view, held);
    const Round round = round_of(view, state);
    Plan plan;
    plan.segments.push_back(segment_of(view.model, Role::target, view.tokens, state.drafts, round));
    add_asks(plan.segments[0], state.drafts, round);
    if (view.unconditional.empty()) return plan;
    plan.segments.push_back(
        segment_of(view.model, Role::unconditional, view.unconditional, state.drafts, round));
    std::int32_t index = 0;
    for (Row& row : plan.segments[0].rows)
      row.ask.guidance = {.segment = 1, .row = index++, .scale = view.guidance_scale};
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& held, const Plan& plan,
                 Readout& readout) const override {
    State state = state_of(view, held);
    const Round round = round_of(view, state);
    std::vector<RowReadout>& answers = readout.segments.at(0);  // every row asks
    Commit commit;
    std::int64_t accepted = 0;
    while (accepted < round.num_drafts && answers[static_cast<std::size_t>(accepted)].accepted)
      ++accepted;
    const std::int64_t num_tokens = std::min(accepted + 1, round.num_clean);
    for (std::int64_t k = 0; k < num_tokens; ++k) {
      RowReadout& answer = answers[static_cast<std::size_t>(k)];
      const Token token = answer.token;
      commit.tokens.push_back({token, std::move(answer)});
    }
    for (std::size_t s = 0; s < plan.segments.size(); ++s) {
      std::vector<std::int32_t>& kept = commit.kept_rows.emplace_back();
      for (std::int64_t k = 0; k < num_tokens; ++k) kept.push_back(static_cast<std::int32_t>(k));
    }
    commit.drafted_tokens = round.num_drafts;
    commit.accepted_tokens = accepted;
    commit.latent_rows = round.num_rows() - round.num_clean;

    if (next_stride(state) == 1) {
      state.acceptance.note_plain();
    } else {
      state.acceptance.note_tested(accepted, accepted < round.num_drafts);
    }
    const std::int64_t start = round.group_start(accepted);
    const std::int64_t size = round.group_sizes[static_cast<std::size_t>(accepted)];
    state.drafts.clear();
    for (std::int64_t row = start; row < start + size; ++row) {
      RowReadout& answer = answers[static_cast<std::size_t>(row)];
      if (answer.token == kNoToken) break;
      state.drafts.push_back({answer.token, std::move(answer.drawn_from)});
    }
    state.length = std::ssize(view.tokens) + num_tokens;
    state.key = view.key;
    held = std::move(state);
    return commit;
  }

 private:
  // Drafts are of use where they were made for. A fork draws its own: with the drafts of its parent
  // the two would not be independent.
  static State state_of(const BranchView& view, const PolicyState& held) {
    if (!held.has_value()) return {};
    State state = std::any_cast<State>(held);
    const bool is_drawn =
        std::any_of(state.drafts.begin(), state.drafts.end(),
                    [](const Draft& draft) { return draft.drawn_from != nullptr; });
    if (state.length != std::ssize(view.tokens) || (is_drawn && state.key != view.key))
      state.drafts.clear();
    return state;
  }

  std::int64_t next_stride(const State& state) const {
    return stride_ != 0 ? stride_ : best_stride(state.acceptance.value(), cost_);
  }

  // No draft and no mask stands for a token that nobody will ask for. The last token of all is not
  // worth a draft, as it takes a forward in any case; but the published algorithm tests one there.
  Round round_of(const BranchView& view, const State& state) const {
    const std::int64_t most = next_stride(state) - 1;
    const std::int64_t left = view.max_length - std::ssize(view.tokens);
    const std::int64_t undrafted = cost_.exact ? 1 : 0;
    Round round;
    round.num_drafts = std::min({most, left - undrafted, std::ssize(state.drafts)});
    round.num_clean = std::min(round.num_drafts + 1, left);
    for (std::int64_t k = 0; k <= round.num_drafts; ++k) {
      const bool has_masks = cost_.exact || k == round.num_drafts;
      const std::int64_t wanted = std::clamp<std::int64_t>(left - k - 1 - undrafted, 0, most);
      round.group_sizes.push_back(has_masks ? wanted : 0);
    }
    return round;
  }

  static Segment segment_of(const ModelFacts& model, Role role, std::span<const Token> context,
                            const std::vector<Draft>& drafts, const Round& round) {
    Segment segment;
    segment.role = role;
    const std::int64_t last = std::ssize(context) - 1;
    const std::int64_t num_rows = round.num_rows();
    const std::int64_t words = (num_rows + 63) / 64;
    std::vector<std::uint64_t> ancestors(static_cast<std::size_t>(num_rows * words), 0);
    const auto set = [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      for (std::int64_t bit = begin; bit < end; ++bit)
        ancestors[static_cast<std::size_t>(row * words + bit / 64)] |= std::uint64_t{1} << bit % 64;
    };
    const auto add = [&](Token token, std::int64_t position) {
      const auto row = static_cast<std::int32_t>(segment.rows.size());
      segment.rows.push_back(causal_row(token, position, row));
      return row;
    };
    for (std::int64_t k = 0; k < round.num_clean; ++k) {
      const Token token = k == 0 ? context.back() : drafts[static_cast<std::size_t>(k - 1)].token;
      set(add(token, last + k), 0, k + 1);
    }
    for (std::int64_t k = 0; k <= round.num_drafts; ++k) {
      const std::int64_t start = round.group_start(k);
      for (std::int64_t j = 0; j < round.group_sizes[static_cast<std::size_t>(k)]; ++j) {
        const std::int32_t row = add(model.mask_token, last + k + 1 + j);
        segment.rows.back().adapter = true;
        set(row, 0, k + 1);
        set(row, start, row + 1);
      }
    }
    if (!round.is_chain()) segment.ancestors = std::move(ancestors);
    return segment;
  }

  void add_asks(Segment& segment, const std::vector<Draft>& drafts, const Round& round) const {
    const DraftRule rule = cost_.exact ? DraftRule::sampled : DraftRule::argmax;
    const auto reached = [](std::int64_t k) {
      return Condition{.row = static_cast<std::int32_t>(k) - 1, .accepted = true};
    };
    for (std::int64_t k = 0; k < round.num_drafts; ++k) {
      const Draft& draft = drafts[static_cast<std::size_t>(k)];
      segment.rows[static_cast<std::size_t>(k)].ask = {.kind = AskKind::verify,
                                                       .token = draft.token,
                                                       .draft_rule = rule,
                                                       .drawn_from = draft.drawn_from,
                                                       .condition = reached(k)};
    }
    if (round.num_clean > round.num_drafts) {
      segment.rows[static_cast<std::size_t>(round.num_drafts)].ask = {
          .kind = AskKind::sample, .condition = reached(round.num_drafts)};
    }
    for (std::int64_t k = 0; k <= round.num_drafts; ++k) {
      const Condition ends_here =
          k == round.num_drafts ? reached(k)
                                : Condition{.row = static_cast<std::int32_t>(k), .accepted = false};
      for (std::int64_t j = 0; j < round.group_sizes[static_cast<std::size_t>(k)]; ++j) {
        segment.rows[static_cast<std::size_t>(round.group_start(k) + j)].ask = {
            .kind = AskKind::draft, .draft_rule = rule, .condition = ends_here};
      }
    }
  }

  std::int64_t stride_;  // 0: by the running acceptance
  StrideCost cost_;
};

}  // namespace

std::unique_ptr<Policy> make_strided(const PolicyOptions& options) {
  const auto stride = option<std::int64_t>(options, "stride");
  if (stride != 0 && (stride < 2 || stride > kMaxStride))
    throw ValueError(concat("stride ", stride, " is not between 2 and ", kMaxStride));
  return std::make_unique<Strided>(stride,
                                   StrideCost{.exact = option<bool>(options, "exact"),
                                              .row_cost = option<double>(options, "row_cost")});
}

}  // namespace foresight
