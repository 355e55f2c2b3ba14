// Block diffusion: blocks of the canvas are finished from left to right, and the masks of the open
// one are decided in any order (SDAR, Cheng et al. 2025, arXiv 2510.06303; LLaDA2.0 and 2.1, Bie et
// al. 2026, arXiv 2602.08676; Fast-dLLM v2, Wu et al. 2025, arXiv 2509.26328). Blocks are those of
// the model's attention, aligned to position 0, so the tail of a prompt lies in the first open one.
// Finished blocks are cached, the open one is computed anew in each forward. Exact.
//
// A shifted model decides the first token of a block by the last row of the block before: that
// block's final forward, which every block needs once, asks its last row and its rows stay.
//
// Options (python/foresight/strategies/block_diffusion.py resolves them):
//   block_length    of the model
//   window          positions of a block that are decided together, from left to right; divides it
//   steps           forwards of a window, at most: each writes its share of the window's positions
//   min_transfer    but no fewer than that
//   order           "sequential" | "static" | "dynamic" | "entropy_bound"
//   confidence      "raw_probability" | "probability" | "entropy" | "certain" (always 1)
//   threshold       of "dynamic"; the bound of "entropy_bound"
//   edit_threshold  decided tokens of the open block change where another is proposed with more
//                   confidence; negative: never
//   max_post_steps  forwards that only edit, per block
//   overwrites      a share that exceeds the masks left goes to decided and given tokens, as
//                   published for SDAR
//   greedy_first    the first token of a shifted block is not sampled, as published
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "decode/block_rules.h"
#include "decode/canvas.h"
#include "decode/options.h"

namespace foresight {

namespace {

enum class Order : std::uint8_t { sequential, fixed, dynamic, entropy_bound };

struct State {
  std::int64_t block = -1;      // the open one; -1: the first that holds a mask
  std::int64_t window = -1;     // first position of the window that `step` counts in
  std::int64_t step = 0;        // forwards of the window
  std::int64_t post_steps = 0;  // forwards of the open block that found no mask
  std::uint32_t draw = 0;       // forwards
};

// What the next forward computes and asks.
struct Round {
  Window rows;
  bool is_first_token = false;      // rows are the finished block before the open one
  std::vector<std::int32_t> asked;  // positions, ascending
  std::vector<std::int32_t> masks;  // of the open block
  std::size_t quota = 0;            // masks to decide, at least
  std::int64_t window = -1;
  std::int64_t step = 0;
};

class BlockDiffusion final : public Policy {
 public:
  explicit BlockDiffusion(const PolicyOptions& options)
      : block_length_(option<std::int64_t>(options, "block_length")),
        window_(option<std::int64_t>(options, "window")),
        steps_(option<std::int64_t>(options, "steps")),
        min_transfer_(option<std::int64_t>(options, "min_transfer")),
        threshold_(option<double>(options, "threshold")),
        edit_threshold_(option<double>(options, "edit_threshold")),
        max_post_steps_(option<std::int64_t>(options, "max_post_steps")),
        overwrites_(option<bool>(options, "overwrites")),
        greedy_first_(option<bool>(options, "greedy_first")) {
    const auto order = option<std::string>(options, "order");
    order_ = order == "sequential" ? Order::sequential
             : order == "static"   ? Order::fixed
             : order == "dynamic"  ? Order::dynamic
                                   : Order::entropy_bound;
    is_certain_ = option<std::string>(options, "confidence") == "certain";
    confidence_ = is_certain_ ? Confidence::none : confidence_option(options, "confidence");
    if (block_length_ < 1 || window_ < 1 || block_length_ % window_ != 0)
      throw ValueError(concat("window ", window_, " does not divide block_length ", block_length_));
    if (steps_ < 1 || min_transfer_ < 1)
      throw ValueError(
          concat("steps ", steps_, " and min_transfer ", min_transfer_, " must be at least 1"));
  }

  std::int64_t canvas_length(std::int64_t max_length) const override {
    return (max_length + block_length_ - 1) / block_length_ * block_length_;
  }

  std::int64_t required_cache(const BranchView& view, const PolicyState& policy_state,
                              Role role) const override {
    return rows_of(view, state_of(policy_state)).begin + offset_of(view, role);
  }

  Plan plan(const BranchView& view, const PolicyState& policy_state) const override {
    const State& state = state_of(policy_state);
    const Round round = round_of(view, state);
    Plan plan;
    plan.segments.push_back(segment_of(view, Role::target, round.rows));
    if (!view.unconditional.empty())
      plan.segments.push_back(segment_of(view, Role::unconditional, round.rows));
    const std::int64_t shift = view.model.shifted ? 1 : 0;
    for (const std::int32_t position : round.asked) {
      const std::int64_t row = position - shift - round.rows.begin;
      FORESIGHT_CHECK(row >= 0, concat("no row decides position ", position));
      Ask& ask = plan.segments.front().rows[static_cast<std::size_t>(row)].ask;
      const bool is_greedy = round.is_first_token && greedy_first_;
      ask = {.kind = is_greedy ? AskKind::argmax : AskKind::sample,
             .draw = state.draw,
             .confidence = confidence_,
             .decides = position};
      if (plan.segments.size() > 1) {
        ask.guidance = {
            .segment = 1, .row = static_cast<std::int32_t>(row), .scale = view.guidance_scale};
      }
    }
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState& policy_state, const Plan& plan,
                 Readout& readout) const override {
    State state = state_of(policy_state);
    const Round round = round_of(view, state);
    std::vector<RowReadout>& answers = readout.segments.front();
    Commit commit;
    for (const std::size_t chosen : choose(view, round, answers)) {
      RowReadout& answer = answers[chosen];
      const Token token = answer.token;
      if (token == view.model.mask_token) {
        throw ValueError(concat("the mask token ", token, " was proposed for position ",
                                round.asked[chosen],
                                ": a processor must not raise it, since it would stay masked"));
      }
      commit.edits.push_back({round.asked[chosen], token, std::move(answer)});
    }
    const auto is_mask = [&](std::int32_t position) {
      return token_at(view, position) == view.model.mask_token;
    };
    const std::int64_t num_decided =
        std::count_if(commit.edits.begin(), commit.edits.end(),
                      [&](const CanvasEdit& edit) { return is_mask(edit.position); });
    ++state.draw;
    if (round.is_first_token) {
      for (const Segment& segment : plan.segments) {
        std::vector<std::int32_t>& kept = commit.kept_rows.emplace_back();
        for (std::int32_t i = 0; i < std::ssize(segment.rows); ++i) kept.push_back(i);
      }
    } else {
      const std::int64_t num_candidates =
          std::count_if(round.asked.begin(), round.asked.end(), is_mask);
      commit.latent_rows = std::ssize(round.masks) - num_candidates;
      commit.candidate_rows = num_candidates - num_decided;
    }
    go_on(view, round, commit, std::ssize(round.masks) - num_decided, state);
    policy_state = state;
    return commit;
  }

 private:
  static const State& state_of(const PolicyState& state) {
    static const State kStart;
    return state.has_value() ? *std::any_cast<State>(&state) : kStart;
  }
  static Token token_at(const BranchView& view, std::int64_t position) {
    return view.tokens[static_cast<std::size_t>(position)];
  }
  bool edits() const { return edit_threshold_ >= 0.0; }
  // Whether tokens may change while their block is open.
  bool revises() const { return edits() || overwrites_; }

  // How much longer the unconditional context is; blocks must fall on blocks.
  std::int64_t offset_of(const BranchView& view, Role role) const {
    if (role == Role::target) return 0;
    const std::int64_t offset = std::ssize(view.unconditional) - std::ssize(view.tokens);
    FORESIGHT_CHECK(offset % block_length_ == 0,
                    concat("the unconditional context is ", offset, " tokens longer"));
    return offset;
  }

  // --- rows

  std::int64_t open_block(const BranchView& view, const State& state) const {
    return state.block >= 0 ? state.block : view.new_positions.front() / block_length_;
  }
  // Whether the open block waits for the token that the block before it decides.
  bool needs_first_token(const BranchView& view, std::int64_t block) const {
    return view.model.shifted && block > 0 &&
           token_at(view, block * block_length_) == view.model.mask_token;
  }
  Window rows_of(const BranchView& view, const State& state) const {
    FORESIGHT_CHECK(
        view.model.block_length == block_length_,
        concat("blocks of ", block_length_, " for a model of ", view.model.block_length));
    const std::int64_t open = open_block(view, state);
    const std::int64_t block = needs_first_token(view, open) ? open - 1 : open;
    return {block * block_length_, (block + 1) * block_length_};
  }

  Segment segment_of(const BranchView& view, Role role, Window rows) const {
    const std::span<const Token> context = role == Role::target ? view.tokens : view.unconditional;
    const std::int64_t offset = offset_of(view, role);
    FORESIGHT_CHECK(rows.begin + offset >= 0, "the unconditional context holds the block");
    Segment segment{.role = role, .rows = {}, .ancestors = {}};
    for (std::int64_t i = rows.begin + offset; i < rows.end + offset; ++i) {
      segment.rows.push_back({.token = context[static_cast<std::size_t>(i)],
                              .position = static_cast<std::int32_t>(i)});
    }
    return segment;
  }

  Round round_of(const BranchView& view, const State& state) const {
    const std::int64_t block = open_block(view, state);
    Round round;
    round.rows = rows_of(view, state);
    round.is_first_token = round.rows.begin < block * block_length_;
    if (round.is_first_token) {
      round.asked.push_back(static_cast<std::int32_t>(block * block_length_));
      round.masks = round.asked;
      return round;
    }
    round.masks = masked_positions(view, round.rows);
    if (round.masks.empty()) {
      round.asked = editable(view, round.rows);
      return round;
    }
    round.window = round.masks.front() / window_ * window_;
    round.step = round.window == state.window ? state.step : 0;
    round.quota = std::max(window_quota(window_, steps_, round.step),
                           static_cast<std::size_t>(min_transfer_));
    const Window window{round.window, round.window + window_};
    if (overwrites_) {
      for (std::int64_t i = window.begin; i < window.end; ++i)
        round.asked.push_back(static_cast<std::int32_t>(i));
      return round;
    }
    round.asked = masked_positions(view, window);
    if (order_ == Order::sequential) round.asked.resize(std::min(round.asked.size(), round.quota));
    if (edits()) {
      const std::vector<std::int32_t> others = editable(view, round.rows);
      round.asked.insert(round.asked.end(), others.begin(), others.end());
      std::sort(round.asked.begin(), round.asked.end());
    }
    return round;
  }

  // Decided positions that were not given.
  static std::vector<std::int32_t> editable(const BranchView& view, Window rows) {
    std::vector<std::int32_t> positions;
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      const auto position = static_cast<std::int32_t>(i);
      const bool is_new =
          i >= view.max_length ||
          std::binary_search(view.new_positions.begin(), view.new_positions.end(), position);
      if (is_new && token_at(view, i) != view.model.mask_token) positions.push_back(position);
    }
    return positions;
  }

  // --- which of the answers are written

  std::vector<std::size_t> choose(const BranchView& view, const Round& round,
                                  std::vector<RowReadout>& answers) const {
    if (is_certain_) {
      for (RowReadout& answer : answers) answer.confidence = 1.0;
    }
    if (overwrites_ && !round.is_first_token) return choose_as_published(view, round, answers);
    std::vector<std::size_t> chosen;
    std::vector<Proposal> proposals;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const Token old = token_at(view, round.asked[i]);
      const double confidence = answers[i].confidence;
      if (old == view.model.mask_token) {
        proposals.push_back({round.asked[i], static_cast<std::int32_t>(i), confidence});
      } else if (answers[i].token != old && confidence > edit_threshold_) {
        chosen.push_back(i);
      }
    }
    std::size_t count = proposals.size();
    if (!round.is_first_token && order_ != Order::sequential) {
      sort_by_confidence(proposals);
      count = count_of(proposals, round.quota);
    }
    for (std::size_t i = 0; i < count; ++i)
      chosen.push_back(static_cast<std::size_t>(proposals[i].answer));
    return chosen;
  }

  std::size_t count_of(std::span<const Proposal> sorted, std::size_t quota) const {
    switch (order_) {
      case Order::sequential:
      case Order::fixed:
        break;
      case Order::dynamic:
        return count_above(sorted, threshold_, quota);
      case Order::entropy_bound:
        return count_within_entropy(sorted, threshold_, quota);
    }
    return std::min(quota, sorted.size());
  }

  std::vector<std::size_t> choose_as_published(const BranchView& view, const Round& round,
                                               const std::vector<RowReadout>& answers) const {
    std::vector<double> confidences;
    std::vector<std::size_t> above;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const bool is_mask = token_at(view, round.asked[i]) == view.model.mask_token;
      confidences.push_back(is_mask ? answers[i].confidence
                                    : -std::numeric_limits<double>::infinity());
      if (confidences[i] > threshold_) above.push_back(i);
    }
    if (order_ == Order::dynamic && above.size() >= round.quota) return above;
    return top_as_torch(confidences, round.quota);
  }

  // --- what comes next

  void go_on(const BranchView& view, const Round& round, Commit& commit, std::int64_t masks_left,
             State& state) const {
    state.block = open_block(view, state);
    if (round.window >= 0) {
      state.window = round.window;
      state.step = round.step + 1;
    }
    if (round.masks.empty()) ++state.post_steps;
    bool is_finished = masks_left == 0;
    if (edits() && state.post_steps < max_post_steps_)
      is_finished = is_finished && round.masks.empty() && commit.edits.empty();
    if (is_finished) {
      // After a first token that is mostly the same block.
      const std::int64_t next =
          next_mask(view, commit, state.block * block_length_) / block_length_;
      if (next != state.block) state.post_steps = 0;
      state.block = next;
    }
    const std::int64_t open = state.block * block_length_;
    commit.final_length = revises() ? open : final_length_after(view, commit.edits);
  }

  // The first mask at or after `begin` that stays; the end of the canvas where there is none.
  static std::int64_t next_mask(const BranchView& view, const Commit& commit, std::int64_t begin) {
    const auto is_edited = [&](std::int64_t position) {
      return std::any_of(commit.edits.begin(), commit.edits.end(),
                         [&](const CanvasEdit& edit) { return edit.position == position; });
    };
    std::int64_t next = begin;
    while (next < std::ssize(view.tokens) &&
           (token_at(view, next) != view.model.mask_token || is_edited(next))) {
      ++next;
    }
    return next;
  }

  std::int64_t block_length_;
  std::int64_t window_;
  std::int64_t steps_;
  std::int64_t min_transfer_;
  Order order_ = Order::dynamic;
  Confidence confidence_ = Confidence::none;
  bool is_certain_ = false;
  double threshold_;
  double edit_threshold_;
  std::int64_t max_post_steps_;
  bool overwrites_;
  bool greedy_first_;
};

}  // namespace

std::unique_ptr<Policy> make_block_diffusion(const PolicyOptions& options) {
  return std::make_unique<BlockDiffusion>(options);
}

}  // namespace foresight
