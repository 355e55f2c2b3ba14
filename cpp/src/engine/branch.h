// Requests and branches: plain state. Everything that must survive a fork or a preemption is in the
// branch; its cache is only a copy of work that can be done again.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/rng.h"
#include "decode/policy.h"
#include "engine/tenant.h"
#include "model/config.h"
#include "rows/rows.h"
#include "sample/processors.h"
#include "sample/readouts.h"
#include "sample/sampling_params.h"
#include "trace/counters.h"

namespace foresight {

class BranchControl;
struct Branch;

inline ModelFacts facts_of(const ModelConfig& config) {
  return {.vocab_size = config.vocab_size,
          .attention = config.attention,
          .block_length = config.block_length,
          .shifted = config.shifted,
          .mask_token = config.mask_token_id};
}

// What one prompt asks for.
struct Request {
  std::int64_t index = 0;  // within the job
  std::vector<Token> prompt;
  std::vector<Token> unconditional_prompt;  // empty: no guidance
  float guidance_scale = 1.0f;
  std::int64_t max_length = 0;     // prompt included
  std::int64_t canvas_length = 0;  // 0: tokens are appended
  // K/V of the first tokens of the prompt that all sequences of the request compute alike.
  std::int64_t shared_length = 0;
  std::int64_t num_sequences = 1;
  std::int64_t num_unfinished = 1;  // of its sequences
  bool shares_prompt = false;       // there may be several sequences
  Request* charged_to = nullptr;    // a probe's: the request that it serves
  std::int64_t forwards = 0;        // in which a row of it was computed
  std::uint64_t last_step = 0;      // the latest of these
  std::uint64_t seed = 0;
  std::vector<Token> eos_token_ids;
  std::shared_ptr<const Policy> policy;
  std::shared_ptr<Drafter> drafter;  // null: none
  ProcessorList processors;          // the whole chain, in order
  bool processors_thread_safe = true;
  ReadoutOptions readout;
  bool output_scores = false;
  bool output_logits = false;
  bool keep_readouts = false;               // logprobs, scores or logits are wanted per token
  std::vector<std::int32_t> hidden_layers;  // of AskKind::hidden
  std::optional<double> max_seconds;
  std::vector<Branch*> sequences;  // in their order
  // K/V of the first shared_length tokens, lent to all sequences once one has computed them.
  Tenant prefix;

  // Fixes the base of dynamic rope scaling; 0: never scaled.
  std::int64_t rope_length() const {
    return charged_to == nullptr ? max_length : charged_to->max_length;
  }
  // Whose prompt its sequences begin with: a probe's is that of the request that it serves.
  const Tenant& shared_prefix() const {
    return charged_to == nullptr ? prefix : charged_to->prefix;
  }
  std::int64_t shared_prefix_length() const {
    return charged_to == nullptr ? shared_length : charged_to->shared_length;
  }
};

// Guesses at how a branch goes on from a length; of no use at another one, or to a fork: two
// branches that test the same drawn guesses are not independent.
struct Drafts {
  std::vector<DraftNode> nodes;
  std::int64_t length = -1;
};

struct Branch : Tenant {
  std::uint64_t id = 0;
  Request* request = nullptr;
  BranchControl* control = nullptr;  // of a request whose branches are under control
  const Branch* probed = nullptr;    // this is a probe, a copy of that branch with a suffix
  bool told = false;                 // its controller knows that it has ended
  std::int64_t num_copied = 0;   // first tokens that it took from another branch, prompt included
  std::int64_t sequence = 0;     // within the request
  std::int64_t trace_index = 0;  // within the job, in order of submission
  // Prompt and committed tokens; with a canvas the whole of it, masks included.
  std::vector<Token> tokens;
  // Negative prompt, then what `tokens` has after the prompt; empty: no guidance.
  std::vector<Token> unconditional;
  std::int64_t prompt_length = 0;
  // With a canvas: the positions to decide, ascending, and how many of them are final: no mask and
  // nothing that may still change before them.
  std::vector<std::int32_t> new_positions;
  std::int64_t num_final = 0;
  std::int64_t prompt_end = 0;  // after the last given token: an eos before it ends nothing
  RngKey key;
  PolicyState state;
  Drafts drafts;
  StopReason stop = StopReason::none;
  bool keeps_cache = false;  // sessions: pages outlive the call

  std::vector<RowReadout> readouts;  // per new token, when the request keeps them
  std::vector<RowReadout> reports;   // Commit::reports, in order
  std::int64_t reported = 0;         // new tokens that the job has told its caller about
  Counters counters;
  std::int64_t decode_forwards = 0;  // forwards in which the policy had rows of its own
  // Per place in a row of drafts: how often one stood there, and how often it was accepted.
  std::vector<std::int64_t> drafted_at;
  std::vector<std::int64_t> accepted_at;
  std::array<std::int64_t, kNumRoles> high_water{};  // longest cached length ever

  bool finished() const { return stop != StopReason::none; }
  bool has_canvas() const { return request->canvas_length > 0; }
  // New tokens that no later step will change.
  std::int64_t num_new_tokens() const {
    return has_canvas() ? num_final : static_cast<std::int64_t>(tokens.size()) - prompt_length;
  }
  std::int64_t new_position(std::int64_t index) const {
    return has_canvas() ? new_positions[static_cast<std::size_t>(index)] : prompt_length + index;
  }
  // New tokens that it took from the branch that it was forked from.
  std::int64_t num_inherited() const {
    return std::max(num_copied - prompt_length, std::int64_t{0});
  }
  Token new_token(std::int64_t index) const {
    return tokens[static_cast<std::size_t>(new_position(index))];
  }
  std::int64_t cached(const Cache& cache, Role role) const {
    const Cache::Handle handle = handles[static_cast<std::size_t>(role)];
    return handle == Cache::kNoHandle ? 0 : cache.length(handle);
  }
  const std::vector<Token>& context(Role role) const {
    return role == Role::unconditional ? unconditional : tokens;
  }
  BranchView view(const ModelConfig& config, const Cache& cache) const {
    BranchView view{.branch = id,
                    .tokens = tokens,
                    .prompt_length = prompt_length,
                    .max_length = request->max_length,
                    .new_positions = new_positions,
                    .key = key,
                    .model = facts_of(config),
                    .unconditional = unconditional,
                    .guidance_scale = request->guidance_scale};
    if (drafts.length == std::ssize(tokens)) view.drafts = drafts.nodes;
    for (int role = 0; role < kNumRoles; ++role)
      view.cached[static_cast<std::size_t>(role)] = cached(cache, static_cast<Role>(role));
    return view;
  }
};

}  // namespace foresight
