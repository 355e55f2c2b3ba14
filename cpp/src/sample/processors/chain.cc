// The chain of a request, in the order of transformers' GenerationMixin._get_logits_processor.
// Guidance comes before it (readouts.h): it needs a second row of logits.
#include <utility>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"

namespace foresight {
namespace {

void add_processors(const SamplingParams& params, std::int64_t vocab_size, Processor prefix,
                    ProcessorList& chain) {
  if (!params.sequence_bias.empty()) chain.push_back(make_sequence_bias(params, vocab_size));
  if (params.encoder_repetition_penalty != 1.0) {
    chain.push_back(make_encoder_repetition_penalty(params.encoder_repetition_penalty));
  }
  if (params.repetition_penalty != 1.0) {
    chain.push_back(make_repetition_penalty(params.repetition_penalty));
  }
  if (params.no_repeat_ngram_size != 0) {
    chain.push_back(make_no_repeat_ngram(params.no_repeat_ngram_size));
  }
  if (params.encoder_no_repeat_ngram_size != 0) {
    chain.push_back(make_encoder_no_repeat_ngram(params.encoder_no_repeat_ngram_size));
  }
  if (!params.bad_words_ids.empty()) chain.push_back(make_bad_words(params, vocab_size));
  if (params.min_length != 0) {
    chain.push_back(make_min_length(params.min_length, params.eos_token_ids));
  }
  if (params.min_new_tokens != 0) {
    chain.push_back(make_min_new_tokens(params.min_new_tokens, params.eos_token_ids));
  }
  if (prefix != nullptr) chain.push_back(std::move(prefix));
  if (params.forced_bos_token_id) {
    chain.push_back(make_forced_bos(*params.forced_bos_token_id, vocab_size));
  }
  if (!params.forced_eos_token_id.empty()) chain.push_back(make_forced_eos(params, vocab_size));
  if (params.remove_invalid_values) chain.push_back(make_remove_invalid_values());
  if (params.exponential_decay_length_penalty) {
    chain.push_back(make_exponential_decay(params, vocab_size));
  }
  if (!params.suppress_tokens.empty()) chain.push_back(make_suppress_tokens(params, vocab_size));
  if (!params.begin_suppress_tokens.empty()) {
    chain.push_back(make_begin_suppress_tokens(params, vocab_size));
  }
}

void add_warpers(const CpuContext& context, const SamplingParams& params, ProcessorList& chain) {
  if (params.temperature != 1.0) chain.push_back(make_temperature(params.temperature));
  if (params.top_h) chain.push_back(make_top_h(context, *params.top_h));
  if (params.top_k != 0) chain.push_back(make_top_k(params.top_k));
  if (params.top_p != 1.0) chain.push_back(make_top_p(context, params.top_p));
  if (params.min_p) chain.push_back(make_min_p(context, *params.min_p));
  if (params.typical_p != 1.0) chain.push_back(make_typical(context, params.typical_p));
  if (params.epsilon_cutoff != 0.0) {
    chain.push_back(make_epsilon_cutoff(context, params.epsilon_cutoff));
  }
  if (params.eta_cutoff != 0.0) chain.push_back(make_eta_cutoff(context, params.eta_cutoff));
}

}  // namespace

ProcessorList make_processors(const CpuContext& context, const SamplingParams& params,
                              std::int64_t vocab_size, ProcessorList user,
                              std::shared_ptr<const LogitsProcessor> prefix) {
  ProcessorList chain;
  add_processors(params, vocab_size, std::move(prefix), chain);
  for (Processor& processor : user) chain.push_back(std::move(processor));
  if (params.do_sample) add_warpers(context, params, chain);
  if (params.renormalize_logits) chain.push_back(make_renormalize(context));
  return chain;
}

void apply(const ProcessorList& processors, const ScoreContext& context, std::span<float> scores) {
  for (const Processor& processor : processors) processor->apply(context, scores);
}

}  // namespace foresight
