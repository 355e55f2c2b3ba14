// From a row of scores to the few numbers that an ask names. Softmax and confidence in float32 over
// float64 sums; ties go to the lowest token id. A row without one finite score, or with a NaN or
// +infinity where a distribution is needed, throws ValueError: the processors have forbidden every
// token, or the weights are broken.
#pragma once

#include <cstdint>
#include <span>

#include "core/rng.h"
#include "ops/readout.h"
#include "rows/rows.h"

namespace foresight {

// Log of sum exp over a row, as float64.
double log_sum_exp(const CpuContext& context, std::span<const float> scores);

// In place: scores <- unconditional + scale * (conditional - unconditional), both as
// log-probabilities (transformers' UnbatchedClassifierFreeGuidanceLogitsProcessor; Sanchez et al.,
// "Stay on topic with classifier-free guidance", 2023). What either side forbids stays forbidden.
void combine_guidance(const CpuContext& context, std::span<float> conditional,
                      std::span<const float> unconditional, float scale);

// The token whose interval of the cumulated distribution (in order of token id) holds `uniform`.
// `uniform` is in [0, 1). -inf scores are never drawn.
Token sample_token(const CpuContext& context, std::span<const float> scores, double uniform);

struct ReadoutOptions {
  bool do_sample = false;
  std::int32_t top_logprobs = 0;  // fill RowReadout::top for every emitted token
  bool logprobs = false;          // fill logprob and raw_logprob of emitted tokens
};

// One row of scores [vocab] as it was and as it became.
struct RowScores {
  std::span<const float> raw;        // the model's logits
  std::span<const float> guided;     // after guidance
  std::span<const float> processed;  // after guidance, processors and warpers
};

// Answers one ask; `hidden` is the model port's. A token is drawn with uniform(key, position,
// ask.draw); drafts and their tests have draws of their own. argmax, sample, confidence and verify
// emit a token, about which `options` may say more; top lists never hold forbidden tokens.
void answer_ask(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                const RowScores& scores, const RngKey& key, std::uint64_t position,
                RowReadout& out);

}  // namespace foresight
