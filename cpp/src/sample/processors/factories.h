// One factory per processor of the chain. Each throws ValueError, naming the field, when its value
// lies outside the field's range; chain.cc calls those whose field is set, in order.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sample/processors.h"

namespace foresight {

using Processor = std::shared_ptr<const LogitsProcessor>;

// bias.cc: both forms add up what the sequences ending in a token say about it.
Processor make_sequence_bias(const SamplingParams& params, std::int64_t vocab_size);
Processor make_bad_words(const SamplingParams& params, std::int64_t vocab_size);

// repetition.cc
Processor make_encoder_repetition_penalty(double penalty);
Processor make_repetition_penalty(double penalty);

// ngrams.cc
Processor make_no_repeat_ngram(std::int32_t ngram_size);
Processor make_encoder_no_repeat_ngram(std::int32_t ngram_size);

// lengths.cc
Processor make_min_length(std::int32_t min_length, std::span<const Token> eos_token_ids);
Processor make_min_new_tokens(std::int32_t min_new_tokens, std::span<const Token> eos_token_ids);
Processor make_exponential_decay(const SamplingParams& params, std::int64_t vocab_size);

// forced.cc
Processor make_forced_bos(Token token, std::int64_t vocab_size);
Processor make_forced_eos(const SamplingParams& params, std::int64_t vocab_size);

// suppress.cc
Processor make_suppress_tokens(const SamplingParams& params, std::int64_t vocab_size);
Processor make_begin_suppress_tokens(const SamplingParams& params, std::int64_t vocab_size);

// values.cc
Processor make_remove_invalid_values();
Processor make_temperature(double temperature);
Processor make_renormalize(const CpuContext& context);

// Truncations: one file each, and cutoffs.cc for those by probability alone.
Processor make_top_h(const CpuContext& context, double top_h);
Processor make_top_k(std::int32_t top_k);
Processor make_top_p(const CpuContext& context, double top_p);
Processor make_min_p(const CpuContext& context, double min_p);
Processor make_typical(const CpuContext& context, double typical_p);
Processor make_epsilon_cutoff(const CpuContext& context, double epsilon_cutoff);
Processor make_eta_cutoff(const CpuContext& context, double eta_cutoff);

}  // namespace foresight
