// Masked diffusion: a canvas whose masks are decided in any order (LLaDA, Nie et al. 2025, arXiv
// 2502.09992; Dream, Ye et al. 2025, arXiv 2508.15487; semi-causal models with latent tokens, He,
// Welleck and Fried 2026, arXiv 2602.03769; thresholds, factors and caches of Fast-dLLM, Wu et al.
// 2025, arXiv 2505.22618).
//
// Options (python/foresight/decoding.py resolves them from what the user said and the family):
//   schedule       masks to decide in each step
//   block_length   windows of positions, decided one after another; 0: one window
//   fixed_steps    every window takes its share of the schedule even if a mask is proposed
//   order          "confidence" | "random" | "left_to_right" | "independent"
//   confidence     what "confidence" compares, and what the trace tells
//   order_temperature, threshold, factor   0: off; factor_quirk: see count_by_factor
//   steps, epsilon of "independent": t falls linearly from 1 to epsilon
//   latent_tokens  masks in the forward that cannot be decided in it; -1: all others
//   candidates     masks that can; 0: all of the window
//   cache          "none" (exact) | "prefix" | "dual"
//   opens_with_first   the forward that opens a window decides its first position, whatever its
//                  confidence, and the row before the window is not computed again
//   deferred       tokens left out of confidences
#include <algorithm>

#include "core/error.h"
#include "decode/mask_choice.h"

namespace foresight {

namespace {

enum class CanvasCache : std::uint8_t { none, prefix, dual };

struct State {
  std::uint32_t step = 0;
  // The window whose opening forward the cache holds, and what was masked then.
  std::int64_t open_window = -1;
  std::vector<std::int32_t> masked_at_opening;
};

class MaskedDiffusion final : public Policy {
 public:
  explicit MaskedDiffusion(const PolicyOptions& options)
      : chooser_(options),
        block_length_(option<std::int64_t>(options, "block_length")),
        fixed_steps_(option<bool>(options, "fixed_steps")),
        confidence_(confidence_option(options, "confidence")),
        opens_with_first_(option<bool>(options, "opens_with_first")),
        deferred_(token_option(options, "deferred")) {
    const auto cache = option<std::string>(options, "cache");
    cache_ = cache == "prefix" ? CanvasCache::prefix
             : cache == "dual" ? CanvasCache::dual
                               : CanvasCache::none;
  }

  std::int64_t canvas_length(std::int64_t max_length) const override { return max_length; }

  std::int64_t required_cache(const BranchView& view, const PolicyState& policy_state,
                              Role role) const override {
    const State& state = state_of(policy_state);
    const bool holds = is_open(view, state) && holds_opening(view, state, role);
    return holds ? opening_length(view, state, role) : 0;
  }

  Plan plan(const BranchView& view, const PolicyState& policy_state) const override {
    const State& state = state_of(policy_state);
    const bool reopening = reopens(view, state);
    const MaskChoice choice = reopening ? MaskChoice{} : choose(view, state);
    Plan plan;
    for (const Role role : {Role::target, Role::unconditional}) {
      const std::span<const Token> context = context_of(view, role);
      if (context.empty()) continue;
      plan.segments.push_back({.role = role, .rows = {}, .ancestors = {}});
      std::vector<Row>& rows = plan.segments.back().rows;
      if (reopening) {
        rows = opening_rows(view, state, context);
      } else if (is_open(view, state)) {
        rows = window_rows(view, state, context);
      } else if (chooser_.sees_everything(view)) {
        rows = rows_of(context, 0, std::ssize(context));
      } else {
        rows = chosen_rows(view, choice, context);
      }
    }
    if (!reopening) ask(view, choice, plan);
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& policy_state, const Plan& plan,
                 Readout& readout) const override {
    State state = state_of(policy_state);
    Commit commit;
    const bool reopening = reopens(view, state);
    const bool opening = cache_ != CanvasCache::none && !is_open(view, state);
    if (opening || reopening) commit.kept_rows = opening_slots(view, state, plan);
    if (reopening) {
      commit.final_length = final_length_after(view, {});
      return commit;
    }
    if (opening) {
      state.open_window = window_index(view, state);
      state.masked_at_opening = masked_positions(view, whole(view));
    }
    const MaskChoice choice = choose(view, state);
    std::vector<RowReadout>& answers = readout.segments.front();
    for (const Proposal& proposal :
         chooser_.accept(view, choice.step, proposals_of(plan, answers))) {
      RowReadout& answer = answers[static_cast<std::size_t>(proposal.answer)];
      const Token token = answer.token;
      if (token == view.model.mask_token && !fixed_steps_) {
        throw ValueError(concat("the mask token ", token, " was proposed for position ",
                                proposal.position,
                                ": a processor must not raise it, since it would stay masked"));
      }
      commit.edits.push_back({proposal.position, token, std::move(answer)});
    }
    commit.latent_rows = num_mask_rows(view, plan) - std::ssize(choice.candidates);
    commit.candidate_rows = std::ssize(choice.candidates) - std::ssize(commit.edits);
    state.step = choice.step + 1;
    const bool is_over = fixed_steps_ && state.step >= chooser_.num_steps();
    commit.final_length =
        is_over ? std::ssize(view.tokens) : final_length_after(view, commit.edits);
    policy_state = std::move(state);
    return commit;
  }

 private:
  static const State& state_of(const PolicyState& state) {
    static const State kStart;
    return state.has_value() ? *std::any_cast<State>(&state) : kStart;
  }
  static std::span<const Token> context_of(const BranchView& view, Role role) {
    return role == Role::target ? view.tokens : view.unconditional;
  }
  static Window whole(const BranchView& view) { return {0, std::ssize(view.tokens)}; }
  // How much longer the unconditional context is before the new tokens.
  static std::int64_t offset_of(const BranchView& view, std::span<const Token> context) {
    return std::ssize(context) - std::ssize(view.tokens);
  }

  // --- windows

  std::int64_t window_index(const BranchView& view, const State& state) const {
    if (block_length_ == 0) return 0;
    const std::int64_t first = view.new_positions.front();
    if (fixed_steps_) {
      const std::int64_t span = view.new_positions.back() + 1 - first;
      const std::int64_t num_windows = (span + block_length_ - 1) / block_length_;
      const auto num_steps = static_cast<std::int64_t>(chooser_.num_steps());
      return state.step / std::max<std::int64_t>(1, num_steps / num_windows);
    }
    std::int64_t mask = first;
    while (view.tokens[static_cast<std::size_t>(mask)] != view.model.mask_token) ++mask;
    return (mask - first) / block_length_;
  }

  Window window(const BranchView& view, const State& state) const {
    if (block_length_ == 0) return whole(view);
    const std::int64_t begin =
        view.new_positions.front() + window_index(view, state) * block_length_;
    return {begin, std::min<std::int64_t>(begin + block_length_, std::ssize(view.tokens))};
  }

  // --- caches: K/V of the forward that opened the window; slots are positions

  bool is_open(const BranchView& view, const State& state) const {
    return cache_ != CanvasCache::none && state.open_window == window_index(view, state);
  }
  // The first position of the window's own rows; a shifted model reads the row before it, too.
  std::int64_t first_row(const BranchView& view, const State& state) const {
    const bool reads_before = view.model.shifted && !opens_with_first_;
    return std::max<std::int64_t>(0, window(view, state).begin - (reads_before ? 1 : 0));
  }
  std::int64_t opening_length(const BranchView& view, const State& state, Role role) const {
    const std::span<const Token> context = context_of(view, role);
    return cache_ == CanvasCache::dual ? std::ssize(context)
                                       : first_row(view, state) + offset_of(view, context);
  }
  bool holds_opening(const BranchView& view, const State& state, Role role) const {
    return view.cached[static_cast<std::size_t>(role)] >= opening_length(view, state, role);
  }
  // After a preemption the opening forward is repeated, as it was.
  bool reopens(const BranchView& view, const State& state) const {
    return is_open(view, state) &&
           (!holds_opening(view, state, Role::target) ||
            (!view.unconditional.empty() && !holds_opening(view, state, Role::unconditional)));
  }

  std::vector<std::vector<std::int32_t>> opening_slots(const BranchView& view, const State& state,
                                                       const Plan& plan) const {
    std::vector<std::vector<std::int32_t>> kept(plan.segments.size());
    for (std::size_t s = 0; s < plan.segments.size(); ++s) {
      const std::int64_t length = opening_length(view, state, plan.segments[s].role);
      for (std::int32_t i = 0; i < length; ++i) kept[s].push_back(i);
    }
    return kept;
  }

  // --- rows

  static std::vector<Row> rows_of(std::span<const Token> context, std::int64_t begin,
                                  std::int64_t end) {
    std::vector<Row> rows;
    for (std::int64_t i = begin; i < end; ++i) {
      rows.push_back({.token = context[static_cast<std::size_t>(i)],
                      .position = static_cast<std::int32_t>(i)});
    }
    return rows;
  }

  std::vector<Row> opening_rows(const BranchView& view, const State& state,
                                std::span<const Token> context) const {
    std::vector<Row> rows = rows_of(context, 0, std::ssize(context));
    for (const std::int32_t position : state.masked_at_opening) {
      rows[static_cast<std::size_t>(position + offset_of(view, context))].token =
          view.model.mask_token;
    }
    return rows;
  }

  // The rows that are computed anew while the window is open.
  std::vector<Row> window_rows(const BranchView& view, const State& state,
                               std::span<const Token> context) const {
    const std::int64_t offset = offset_of(view, context);
    const bool dual = cache_ == CanvasCache::dual;
    const std::int64_t end = dual ? window(view, state).end + offset : std::ssize(context);
    std::vector<Row> rows = rows_of(context, first_row(view, state) + offset, end);
    if (dual) {
      for (Row& row : rows) row.replaces = row.position;
    }
    return rows;
  }

  // Clean rows, then the chosen masks in their order. What comes after the last candidate would
  // change nothing in a semi-causal model, so it is not there.
  static std::vector<Row> chosen_rows(const BranchView& view, const MaskChoice& choice,
                                      std::span<const Token> context) {
    const auto offset = static_cast<std::int32_t>(offset_of(view, context));
    const bool ranked = view.model.attention == AttentionKind::semi_causal;
    std::vector<Row> rows;
    for (std::int64_t i = 0; i < std::ssize(context); ++i) {
      const Token token = context[static_cast<std::size_t>(i)];
      if (token != view.model.mask_token)
        rows.push_back({.token = token, .position = static_cast<std::int32_t>(i)});
    }
    std::int32_t rank = 0;
    for (const std::vector<std::int32_t>* masks : {&choice.latents, &choice.candidates}) {
      for (const std::int32_t position : *masks) {
        if (ranked) ++rank;
        rows.push_back({.token = view.model.mask_token,
                        .position = position + offset,
                        .rank = rank,
                        .limit = rank});
      }
    }
    return rows;
  }

  void ask(const BranchView& view, const MaskChoice& choice, Plan& plan) const {
    const std::int32_t shift = view.model.shifted ? 1 : 0;
    const auto row_at = [](const std::vector<Row>& rows, std::int64_t position) {
      const auto row = std::find_if(rows.begin(), rows.end(),
                                    [&](const Row& r) { return r.position == position; });
      FORESIGHT_CHECK(row != rows.end(), concat("no row at position ", position));
      return row - rows.begin();
    };
    std::vector<Row>& rows = plan.segments.front().rows;
    for (const std::int32_t position : choice.candidates) {
      Ask& ask = rows[static_cast<std::size_t>(row_at(rows, position - shift))].ask;
      ask = {.kind = AskKind::sample,
             .draw = choice.step,
             .confidence = confidence_,
             .deferred = deferred_,
             .decides = position};
      if (plan.segments.size() < 2) continue;
      const std::int64_t other = position - shift + offset_of(view, view.unconditional);
      ask.guidance = {.segment = 1,
                      .row = static_cast<std::int32_t>(row_at(plan.segments[1].rows, other)),
                      .scale = view.guidance_scale};
    }
  }

  static std::int64_t num_mask_rows(const BranchView& view, const Plan& plan) {
    const std::vector<Row>& rows = plan.segments.front().rows;
    return std::count_if(rows.begin(), rows.end(),
                         [&](const Row& row) { return row.token == view.model.mask_token; });
  }

  MaskChoice choose(const BranchView& view, const State& state) const {
    const Window masks = window(view, state);
    const bool opening = cache_ != CanvasCache::none && !is_open(view, state);
    if (opens_with_first_ && opening)
      return {.step = state.step, .latents = {}, .candidates = {masked_positions(view, masks)[0]}};
    return chooser_.choose(view, masks, state.step);
  }

  static std::vector<Proposal> proposals_of(const Plan& plan,
                                            const std::vector<RowReadout>& answers) {
    std::vector<Proposal> proposals;
    for (const Row& row : plan.segments.front().rows) {
      if (row.ask.kind == AskKind::none) continue;
      const auto answer = static_cast<std::int32_t>(proposals.size());
      proposals.push_back(
          {row.ask.decides, answer, answers[static_cast<std::size_t>(answer)].confidence});
    }
    return proposals;
  }

  MaskChooser chooser_;
  std::int64_t block_length_;
  bool fixed_steps_;
  Confidence confidence_;
  bool opens_with_first_;
  CanvasCache cache_ = CanvasCache::none;
  std::vector<Token> deferred_;
};

}  // namespace

std::unique_ptr<Policy> make_masked_diffusion(const PolicyOptions& options) {
  return std::make_unique<MaskedDiffusion>(options);
}

}  // namespace foresight
