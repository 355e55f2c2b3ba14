// The numbers of transformers.GenerationConfig that act on scores, as one plain struct. Names,
// meanings and neutral values are transformers'. An option that is off holds its neutral value.
// Real numbers are float64 as in Python: 1 - top_p rounds differently from float32's top_p.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "rows/rows.h"

namespace foresight {

struct SamplingParams {
  // Processors, in the order in which they act.
  std::vector<std::pair<std::vector<Token>, float>>
      sequence_bias;                        // the last of equal sequences wins
  double encoder_repetition_penalty = 1.0;  // rewards the prompt's tokens
  double repetition_penalty = 1.0;
  std::int32_t no_repeat_ngram_size = 0;
  std::int32_t encoder_no_repeat_ngram_size = 0;
  std::vector<std::vector<Token>> bad_words_ids;
  std::int32_t min_length = 0;  // prompt included
  std::int32_t min_new_tokens = 0;
  std::optional<Token> forced_bos_token_id;
  std::vector<Token> forced_eos_token_id;  // at max_length - 1
  bool remove_invalid_values = false;
  std::optional<std::pair<std::int32_t, double>>
      exponential_decay_length_penalty;  // (start, factor)
  std::vector<Token> suppress_tokens;
  std::vector<Token> begin_suppress_tokens;

  // Warpers, only when do_sample, in the order in which they act.
  bool do_sample = false;
  double temperature = 1.0;
  std::optional<double> top_h;
  std::int32_t top_k = 0;
  double top_p = 1.0;
  std::optional<double> min_p;
  double typical_p = 1.0;
  double epsilon_cutoff = 0.0;
  double eta_cutoff = 0.0;

  // Last of all, sampling or not.
  bool renormalize_logits = false;

  // What the processors above need to know. Ids outside the vocabulary never match.
  std::vector<Token> eos_token_ids;
  std::int32_t max_length = std::numeric_limits<std::int32_t>::max();  // prompt included
};

}  // namespace foresight
