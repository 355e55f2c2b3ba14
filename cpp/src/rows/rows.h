// The language in which strategies speak to the engine: plain data, nothing else.
//
// A strategy plans rows, one target forward computes them, the strategy reads a few numbers per
// asking row and commits. Shapes and rules: docs/architecture.md.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace foresight {

using Token = std::int32_t;

// rank of a masked row that nobody but itself may see.
inline constexpr std::int32_t kRankInfinity = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int32_t kNoSlot = -1;
inline constexpr Token kNoToken = -1;
// A row that decides what follows it: position + 1.
inline constexpr std::int32_t kNextPosition = -1;

// What a model was trained to see: it decides the ranks and limits of its rows.
enum class AttentionKind : std::uint8_t {
  causal,
  full,          // everything sees everything
  block_causal,  // blocks of block_length positions, aligned to position 0; full inside a block
  semi_causal,   // clean rows see clean rows, the i-th mask all clean rows and the masks before it
};

// Which context of the branch a segment belongs to.
enum class Role : std::uint8_t {
  target = 0,         // the branch's own tokens
  unconditional = 1,  // the negative prompt (classifier-free guidance)
};
inline constexpr int kNumRoles = 2;

// What is read out of a row. Everything but `none` costs one row of the output head.
enum class AskKind : std::uint8_t {
  none,
  argmax,      // token of the highest processed score
  sample,      // a token drawn under the request's processors and warpers (argmax when it does not
               // sample), and how sure the model is of it (Ask::confidence)
  top_k,       // the k best tokens with processed log-probabilities
  confidence,  // argmax, and max probability, margin and entropy of the processed distribution
  prob_of,     // raw log-probability of `token`, whether it is the argmax, and the argmax's
               // probability
  logits,      // the raw row of logits [vocab], copied out
  hidden,      // hidden states of the layers the request names, copied out
  draft,       // a guess at the token that it decides; kNoToken when every token is forbidden
  verify,      // tests `token`, a guess at the token that it decides: accepted, or another in its
               // place; what comes out is distributed as `sample` is (DraftRule::sampled)
};

// How a draft is made, and tested later.
enum class DraftRule : std::uint8_t {
  sampled,  // drawn from the drafting row's processed distribution
  argmax,   // the most likely token, yet tested as though it were drawn, and all of it without the
            // warpers that cut a distribution off: I-DLM as published, another law unless greedy
};

// By which rule `verify` tests a draft.
enum class Verification : std::uint8_t {
  token,    // against what it was drawn from, by itself (Leviathan et al., 2023)
  block,    // together with all other drafts of the segment, which form a chain; the row behind
            // the last one asks with kNoToken (Sun et al., arXiv 2403.10444)
  typical,  // accepted if the target finds it likely enough: another law (Medusa, arXiv 2401.10774)
  synthetic,  // accepted at a given rate, whatever the target says: for benchmarks of the engine
};

struct Thresholds {
  double epsilon = 0.09;  // typical: accepted above min(epsilon, delta * exp(-entropy))
  double delta = 0.3;
  double rate = 0.0;  // synthetic
};

// The distribution that a draft was drawn from, one weight per token; null: it was certain.
using KeptDistribution = std::shared_ptr<const std::vector<float>>;

// A guess at a token, and what it follows.
struct DraftNode {
  Token token = 0;
  std::int32_t parent = -1;     // index of the node before it; -1: the branch's last token
  KeptDistribution drawn_from;  // null: certain to be proposed
};

// How sure a row is of the token it proposes; higher is surer.
enum class Confidence : std::uint8_t {
  none,
  raw_probability,  // of the token, before processors and warpers
  probability,      // of the token, under the processed distribution
  margin,           // highest minus second highest probability, processed
  entropy,          // minus the entropy in nats, processed
  top_mean,         // minus the mean log-probability of the 20 likeliest tokens, before processors
                    // and warpers (DeepConf, arXiv 2508.15260)
};

inline bool reads_raw(Confidence confidence) {
  return confidence == Confidence::raw_probability || confidence == Confidence::top_mean;
}

// A linear combination of two rows: scores = other + scale * (this - other), on log-probabilities.
struct Combination {
  std::int32_t segment = -1;  // of the plan; -1: none
  std::int32_t row = 0;
  float scale = 1.0f;
};

// An ask that depends on the answer to another one, of an earlier row of its segment.
struct Condition {
  std::int32_t row = -1;   // -1: no condition
  bool accepted = true;    // how the test of that row, which asks `verify`, ended
  Token token = kNoToken;  // instead: what that row has decided
};

struct Ask {
  AskKind kind = AskKind::none;
  std::int32_t k = 0;      // top_k
  Token token = 0;         // prob_of, verify
  std::uint32_t draw = 0;  // number of the draw at this position (diffusion draws again per step)
  Confidence confidence = Confidence::none;  // sample
  // Tokens left out of the distribution that the confidence is taken from; one that is proposed all
  // the same has confidence zero. Borrowed from the policy, which outlives the step.
  std::span<const Token> deferred = {};
  // The position whose token the row decides: it keys the draw and ends what processors see.
  std::int32_t decides = kNextPosition;
  Combination guidance = {};
  DraftRule draft_rule = DraftRule::sampled;  // draft, verify
  KeptDistribution drawn_from = {};           // verify
  Verification verification = Verification::token;
  Thresholds thresholds = {};
  // Where it is not met the ask is not answered: its readout keeps its defaults.
  Condition condition = {};
};

struct Row {
  Token token = 0;
  std::int32_t position = 0;  // of the rotary embedding and of sliding windows
  std::int32_t rank = 0;      // q sees k iff rank[k] <= limit[q] or k == q
  std::int32_t limit = 0;
  std::int32_t replaces =
      kNoSlot;           // cached slot that this row replaces for this step (and on commit)
  bool adapter = false;  // computed with the model's adapter, where it has one
  Ask ask;
};

struct Segment {
  Role role = Role::target;
  std::vector<Row> rows;
  // The second form of the attention rule: one ancestor bit-set per row, ceil(rows / 64) words
  // each; empty: ranks and limits.
  std::vector<std::uint64_t> ancestors;
};

struct Plan {
  std::vector<Segment> segments;
};

struct TopEntry {
  Token token = 0;
  float logprob = 0.0f;
};

// The answer to one ask. Fields that the ask did not name keep their defaults.
struct RowReadout {
  Token token = -1;
  float logprob = 0.0f;      // of `token`, processed distribution
  float raw_logprob = 0.0f;  // of `token`, raw distribution
  float max_prob = 0.0f;
  float margin = 0.0f;   // highest minus second highest probability
  float entropy = 0.0f;  // nats
  // sample, as Ask::confidence names; NaN: nobody asked.
  double confidence = std::numeric_limits<double>::quiet_NaN();
  bool is_argmax = false;            // prob_of: `token` has the highest raw score
  bool accepted = false;             // verify: `token` is the draft
  KeptDistribution drawn_from = {};  // draft, of requests that sample
  std::vector<TopEntry> top;  // top_k, or output_logprobs = k: best first, processed distribution
  std::vector<float> logits;  // logits: [vocab] raw;  also filled when the request outputs logits
  std::vector<float> scores;  // processed scores [vocab], only when the request outputs scores
  std::vector<float> hidden;  // hidden: [layers, hidden_size]
};

// Answers in the order of the asking rows: readouts[s][i] belongs to the i-th asking row of segment
// s.
struct Readout {
  std::vector<std::vector<RowReadout>> segments;
};

enum class StopReason : std::uint8_t { none, eos, length, stop_string, criteria, time, controller };
const char* name_of(StopReason reason);

// One token that a step appends, with what the result reports about it.
struct CommittedToken {
  Token token = 0;
  RowReadout readout;
};

// A position of the canvas that a step has decided, or decided anew.
struct CanvasEdit {
  std::int32_t position = 0;
  Token token = 0;
  RowReadout readout;
};

// Why so many drafts were wanted; NaN where no rule decided.
struct DraftPace {
  double acceptance = std::numeric_limits<double>::quiet_NaN();  // expected, of each draft
  double speed = std::numeric_limits<double>::quiet_NaN();       // expected; plain decoding is 1
};

// What stays of a step.
struct Commit {
  std::vector<CommittedToken> tokens;  // appended to the branch, in order
  // Strategies with a canvas: what is written into it, and how many of its first positions no later
  // step will change (never fewer than before).
  std::vector<CanvasEdit> edits;
  std::int64_t final_length = 0;
  // Per segment of the plan: indices of rows whose K/V stay, ascending; rows that replace a slot
  // and are listed here are written into it.
  std::vector<std::vector<std::int32_t>> kept_rows;
  // Handed to the caller as they are (feeding tokens, scoring).
  std::vector<RowReadout> reports;
  std::int64_t latent_rows = 0;     // mask rows that could not be decided in this forward
  std::int64_t candidate_rows = 0;  // mask rows that could have been, but were not
  std::int64_t drafted_tokens = 0;
  std::int64_t draft_depth = 0;      // the most of them in a row
  std::int64_t accepted_tokens = 0;  // of the drafted ones
  DraftPace pace;
  StopReason stop = StopReason::none;
};

}  // namespace foresight
