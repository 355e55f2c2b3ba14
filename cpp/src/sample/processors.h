// Logits processors and warpers in transformers' order, over one row of scores.
//
// A processor is a pure function of (tokens so far, prompt length, scores): it may be called for
// drafts that are rejected later, and in any order of rows.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ops/readout.h"
#include "rows/rows.h"
#include "sample/sampling_params.h"

namespace foresight {

// What a processor may know about the position whose scores it changes.
struct ScoreContext {
  std::span<const Token> tokens;  // prompt and everything after it, drafts included
  std::int64_t prompt_length = 0;
};

class LogitsProcessor {
 public:
  virtual ~LogitsProcessor() = default;
  // Changes scores [vocab] in place.
  virtual void apply(const ScoreContext& context, std::span<float> scores) const = 0;
  // True when apply() may be called from any thread (everything of ours); a user's Python object
  // says false and is called on the caller's thread.
  virtual bool thread_safe() const { return true; }
  // True for warpers that cut a distribution off, forbidding its unlikely tokens.
  virtual bool truncates() const { return false; }
};

using ProcessorList = std::vector<std::shared_ptr<const LogitsProcessor>>;

// The chain of a request: processors (`prefix`, a prefix_allowed_tokens_fn, has its place among
// them; null: none), then `user` (a user's own), then warpers when do_sample. Throws ValueError for
// a value outside its range, naming the field, the value and the range.
ProcessorList make_processors(const CpuContext& context, const SamplingParams& params,
                              std::int64_t vocab_size, ProcessorList user,
                              std::shared_ptr<const LogitsProcessor> prefix = nullptr);

void apply(const ProcessorList& processors, const ScoreContext& context, std::span<float> scores);

}  // namespace foresight
