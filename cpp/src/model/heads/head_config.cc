#include "model/heads/head_config.h"

#include "core/error.h"

namespace foresight {

void HeadConfig::check() const {
  model.check();
  if (model.experts.num_experts > 0) throw NotImplementedError("draft heads with experts");
  if (model.vocab_size > target_vocab_size) {
    throw ValueError(concat("the draft head has ", model.vocab_size, " tokens and the target ",
                            target_vocab_size, ": it cannot have more"));
  }
  if (target_layers.empty()) throw ValueError("the draft head looks at no layer of the target");
  if (kind == HeadKind::mtp) {
    if (target_layers.size() != 1 || target_hidden_size != model.hidden_size) {
      throw ValueError(concat("an MTP head of hidden size ", model.hidden_size,
                              " takes one hidden state of the same size, found ",
                              target_layers.size(), " of size ", target_hidden_size));
    }
  }
  if (kind != HeadKind::dflash) return;
  if (block_length < 2) {
    throw ValueError(concat("block_length of a draft head is ", block_length, ", expected >= 2"));
  }
  if (mask_token < 0 || mask_token >= target_vocab_size) {
    throw ValueError(concat("mask_token_id ", mask_token, " of the draft head is outside [0, ",
                            target_vocab_size, "), the target's vocabulary"));
  }
  if (static_cast<std::int64_t>(causal.size()) != model.num_layers) {
    throw ValueError(concat("causal has ", causal.size(), " entries for ", model.num_layers,
                            " layers of a draft head"));
  }
  if (markov == MarkovKind::none) return;
  if (markov_rank < 1) throw ValueError(concat("markov_rank is ", markov_rank, ", expected >= 1"));
  if (model.vocab_size != target_vocab_size) {
    throw NotImplementedError(concat("a Markov head over ", model.vocab_size, " of ",
                                     target_vocab_size, " tokens: it must have them all"));
  }
}

}  // namespace foresight
