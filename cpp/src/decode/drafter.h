// A drafter guesses how sequences go on; a policy that wants guesses has them tested by the target
// model in one forward. It may guess anything: what is tested never leaves the target's law, so a
// drafter is only ever slow or fast, not wrong.
//
// One drafter serves all branches of a job and starts correctly from any tokens: forks, truncations
// and preemptions need no bookkeeping, since whatever it keeps per branch it compares with the
// tokens it is given.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"
#include "rows/rows.h"
#include "sample/processors.h"

namespace foresight {

// More guesses in one step than this are never worth their rows.
inline constexpr std::int64_t kMaxDraftTokens = 64;

// What is wanted: a chain, or a tree of at most `width` nodes at every depth.
struct DraftShape {
  std::int64_t num_tokens = 0;  // at most; 0: nothing
  std::int64_t depth = 0;       // at most so many tokens in a row
  std::int64_t width = 1;
  // The best num_tokens nodes of a tree grown `width` wide are kept, instead of all of them.
  bool dynamic = false;
};

// One branch that waits for guesses. Spans are valid during the call only.
struct DraftTask {
  std::uint64_t branch = 0;
  std::uint64_t request = 0;      // branches of one request share their prompt
  std::span<const Token> tokens;  // prompt and committed tokens: the guesses follow the last one
  std::int64_t prompt_length = 0;
  DraftShape shape;
  // What the request does to scores. A drafter with a distribution of its own does the same to it
  // (only with processors that are thread safe) and, where `do_sample` and a chain is wanted, draws
  // from it: guess number i, from 1, of position p with uniform(key, p, draft_draw(i) +
  // kDraftDraw), which answer_ask() does for AskKind::draft.
  const ProcessorList* processors = nullptr;
  bool do_sample = false;
  RngKey key;
  // The answer: parents before their children, siblings in order of likelihood.
  std::vector<DraftNode> nodes;
  std::int64_t forwards = 0;  // of the drafter's own model, with rows of this branch
};

// Hidden states of the target's rows, as the drafter asked for them.
struct TargetStates {
  std::uint64_t branch = 0;
  std::span<const Token> tokens;  // up to the last position below, at least
  std::int64_t first_position = 0;
  std::int64_t num_positions = 0;
  const float* hidden = nullptr;  // [num_positions, layers, hidden_size]
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // Fills in task.nodes; none is a fine answer. All tasks of a step at once, so that forwards of a
  // drafter's own model serve all of them. Throws ValueError for a user's drafter that misbehaves.
  virtual void propose(std::span<DraftTask> tasks) = 0;

  // Layers of the target whose hidden states it needs, numbered as ForwardBatch::hidden_layers;
  // after each step observe() is told those of all rows that stay in the cache.
  virtual std::vector<std::int32_t> hidden_layers() const { return {}; }
  virtual void observe(const TargetStates& states) { static_cast<void>(states); }

  // Tokens that have become final, for drafters that learn from what is written; and the end of a
  // branch.
  virtual void learn(std::uint64_t branch, std::span<const Token> tokens,
                     std::int64_t prompt_length) {
    static_cast<void>(branch), static_cast<void>(tokens), static_cast<void>(prompt_length);
  }
  virtual void forget(std::uint64_t branch) { static_cast<void>(branch); }

  // Forwards of its own model so far.
  virtual std::int64_t num_forwards() const { return 0; }
};

}  // namespace foresight
