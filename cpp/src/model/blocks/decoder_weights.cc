#include "model/blocks/decoder_weights.h"

#include <string>
#include <utility>

#include "core/error.h"

namespace foresight {

DecoderWeights::DecoderWeights(const CpuContext& context, ModelConfig model_config,
                               const Weights& weights, const DecoderTraits& family_traits,
                               DType storage_type)
    : config(std::move(model_config)), traits(family_traits), storage(storage_type) {
  config.check();
  const std::int64_t hidden = config.hidden_size;
  const TensorView embed = weights.get("embed", {config.vocab_size, hidden});
  embedding = ops::PackedMatrix::pack(context, {&embed, 1}, storage);
  if (!config.tie_word_embeddings) {
    const TensorView output = weights.get("lm_head", {config.vocab_size, hidden});
    head = ops::PackedMatrix::pack(context, {&output, 1}, storage);
  }
  if (config.num_learned_positions > 0) {
    const std::int64_t count = config.num_learned_positions;
    const TensorView& table = weights.get("positions", {count, hidden});
    positions.reserve(static_cast<std::size_t>(count * hidden));
    for (std::int64_t i = 0; i < count * hidden; ++i) positions.push_back(table.at(i));
  }
  final_norm = weights.vector("final_norm", hidden, traits.norm_offset);
  layers.reserve(static_cast<std::size_t>(config.num_layers));
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    const std::string prefix = concat("layers.", i, ".");
    const auto norm = [&](const char* name) {
      return weights.vector(prefix + name, hidden, traits.norm_offset);
    };
    const bool has_experts =
        config.experts.num_experts > 0 && config.experts.layers[static_cast<std::size_t>(i)];
    const auto mlp = [&]() -> std::variant<MlpBlock, MoeBlock> {
      if (has_experts) return MoeBlock(context, config, weights, i, storage);
      return MlpBlock(context, config, weights, prefix, config.intermediate_size, storage);
    };
    layers.push_back(Layer{
        .attn_norm = norm("attn_norm"),
        .attention = AttentionBlock(context, config, weights, i, traits.qk_norm, traits.norm_offset,
                                    storage),
        .post_attn_norm = traits.post_norms ? norm("post_attn_norm") : std::vector<float>{},
        .mlp_norm = norm("mlp_norm"),
        .mlp = mlp(),
        .post_mlp_norm = traits.post_norms ? norm("post_mlp_norm") : std::vector<float>{},
    });
  }
}

std::size_t DecoderWeights::packed_bytes(std::int64_t num_layers) const {
  std::size_t total = embedding.num_bytes() + head.num_bytes();
  for (std::int64_t i = 0; i < num_layers; ++i) {
    const Layer& layer = layers[static_cast<std::size_t>(i)];
    total += layer.attention.packed_bytes();
    total += std::visit([](const auto& mlp) { return mlp.packed_bytes(); }, layer.mlp);
  }
  return total;
}

}  // namespace foresight
