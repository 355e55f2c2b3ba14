// A policy says how one sequence is written: plan rows, read a few numbers, commit. It is a
// stateless function; what must survive a fork or a preemption lives in the branch (tokens, state),
// and a policy starts correctly from any committed view.
#pragma once

#include <any>
#include <array>
#include <cstdint>
#include <span>

#include "core/rng.h"
#include "decode/drafter.h"
#include "rows/rows.h"

namespace foresight {

// What a policy knows of the model.
struct ModelFacts {
  std::int64_t vocab_size = 0;
  AttentionKind attention = AttentionKind::causal;
  std::int64_t block_length = 0;  // block_causal
  bool shifted = true;            // the row at position p predicts position p + 1
  Token mask_token = kNoToken;
};

// What a policy sees of a branch between steps. All spans are valid during the call only.
struct BranchView {
  std::uint64_t branch = 0;  // unique id; a fork has a new one
  // Prompt and committed tokens; with a canvas the whole of it, masks included.
  std::span<const Token> tokens;
  std::int64_t prompt_length = 0;
  std::int64_t max_length = 0;  // prompt included
  // With a canvas: the positions that were masked at the start, up to max_length, ascending.
  std::span<const std::int32_t> new_positions;
  std::array<std::int64_t, kNumRoles> cached{};  // slots that the cache holds now, per role
  RngKey key;
  ModelFacts model;
  // The unconditional context (negative prompt, then what the target has after its prompt); empty
  // without guidance.
  std::span<const Token> unconditional;
  float guidance_scale = 1.0f;
  // In plan() and advance(): what the request's drafter guesses, if the policy wants guesses.
  std::span<const DraftNode> drafts;
  // Sequences that decode in the same step. For decisions that change how fast tokens come, never
  // which.
  std::int64_t num_decoding = 1;
};

// The policy's own small, copyable struct; empty until the policy fills it in.
using PolicyState = std::any;

class Policy {
 public:
  virtual ~Policy() = default;

  // How many of the context's tokens must be in the cache of `role` when plan() is called. The
  // engine computes missing ones as catch-up rows (prefill, resuming after preemption), in chunks,
  // in earlier steps or in front of the planned rows of the same one.
  virtual std::int64_t required_cache(const BranchView& view, const PolicyState& state,
                                      Role role) const = 0;

  // For strategies that fill masks in place: the length of the canvas of a sequence that may reach
  // max_length positions. Zero: tokens are appended.
  virtual std::int64_t canvas_length(std::int64_t max_length) const {
    static_cast<void>(max_length);
    return 0;
  }

  // The most slots that a sequence of up to max_length tokens may hold during a step: more than
  // max_length when a step tries more rows than it can keep.
  virtual std::int64_t peak_slots(std::int64_t max_length) const { return max_length; }

  // The guesses that plan() would like to find in the view. Pure, as plan() is.
  virtual DraftShape wanted_drafts(const BranchView& view, const PolicyState& state) const {
    static_cast<void>(view), static_cast<void>(state);
    return {};
  }

  // Rows of the next step. Pure: may be called again for the same view when a step is given up.
  virtual Plan plan(const BranchView& view, const PolicyState& state) const = 0;

  // Reads the answers, updates `state`, says what stays. `readout` may be moved from.
  virtual Commit advance(const BranchView& view, PolicyState& state, const Plan& plan,
                         Readout& readout) const = 0;

  // False for policies that call back into Python: their methods run on the caller's thread.
  virtual bool thread_safe() const { return true; }
};

// Row `index` of a causal chain: sees the rows before it in the segment.
Row causal_row(Token token, std::int64_t position, std::int32_t index, Ask ask = {});

}  // namespace foresight
