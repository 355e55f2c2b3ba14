#include "model/heads/head_weights.h"

#include <utility>

#include "core/error.h"

namespace foresight {

HeadWeights::HeadWeights(const CpuContext& context, HeadConfig head_config, const Weights& weights,
                         const TokenMatrices& target, DType storage_type)
    : config(std::move(head_config)), storage(storage_type) {
  config.check();
  const ModelConfig& model = config.model;
  const std::int64_t hidden = model.hidden_size;
  // The head's own matrix, or the target's where it has none.
  const auto matrix = [&](const char* name, std::int64_t rows,
                          const std::shared_ptr<const ops::PackedMatrix>& shared) {
    if (weights.find(name) != nullptr) {
      const TensorView view = weights.get(name, {rows, hidden});
      auto own = std::make_shared<const ops::PackedMatrix>(
          ops::PackedMatrix::pack(context, {&view, 1}, storage));
      own_bytes_ += own->num_bytes();
      return std::shared_ptr<const ops::PackedMatrix>(std::move(own));
    }
    if (shared->num_outputs() != rows || shared->num_inputs() != hidden) {
      throw ValueError(concat("the draft head has no '", name, "' of shape [", rows, ", ", hidden,
                              "], and the target's is [", shared->num_outputs(), ", ",
                              shared->num_inputs(), "]"));
    }
    return shared;
  };
  embedding = matrix("embed", config.target_vocab_size, target.embedding);
  output = matrix("lm_head", model.vocab_size, target.output);

  const auto norm = [&](const std::string& name, std::int64_t size) {
    return weights.vector(name, size, config.norm_offset);
  };
  const bool is_mtp = config.kind == HeadKind::mtp;
  const std::int64_t states =
      static_cast<std::int64_t>(config.target_layers.size()) * config.target_hidden_size;
  fc = Linear(context, weights, {{"fc", hidden, weights.find("fc_bias") != nullptr}},
              is_mtp ? 2 * hidden : states, storage);
  if (config.norm_before_fc) input_norm = norm("input_norm", states);
  if (config.kind != HeadKind::dflash) embed_norm = norm("embed_norm", hidden);
  feature_norm = norm("feature_norm", hidden);
  final_norm = norm("final_norm", hidden);
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    const std::string prefix = concat("layers.", i, ".");
    const bool takes_pairs = config.kind == HeadKind::eagle3 && i == 0;
    layers.push_back(
        {.attn_norm = takes_pairs ? std::vector<float>{} : norm(prefix + "attn_norm", hidden),
         .attention = AttentionBlock(context, model, weights, i, config.qk_norm, config.norm_offset,
                                     storage, takes_pairs ? 2 * hidden : hidden),
         .mlp_norm = norm(prefix + "mlp_norm", hidden),
         .mlp = MlpBlock(context, model, weights, prefix, model.intermediate_size, storage)});
    own_bytes_ += layers.back().attention.packed_bytes() + layers.back().mlp.packed_bytes();
  }
  if (config.markov != MarkovKind::none) markov = MarkovHead(context, config, weights, storage);
  own_bytes_ += fc.packed_bytes() + markov.packed_bytes();
}

std::size_t HeadWeights::packed_bytes() const { return own_bytes_; }

}  // namespace foresight
