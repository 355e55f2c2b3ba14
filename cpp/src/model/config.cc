#include "model/config.h"

#include "core/error.h"

namespace foresight {

namespace {

void require_positive(std::int64_t value, const char* field) {
  if (value <= 0)
    throw ValueError(concat("config field ", field, " must be positive, found ", value));
}

void check_rope(const RopeConfig& rope, std::int64_t rotary_dim, const char* which) {
  if (static_cast<std::int64_t>(rope.inverse_frequencies.size()) * 2 != rotary_dim) {
    throw ValueError(concat("rope of ", which, " layers has ", rope.inverse_frequencies.size(),
                            " frequencies, expected rotary_dim / 2 = ", rotary_dim / 2));
  }
  if (rope.dynamic && rope.original_length <= 0) {
    throw ValueError("dynamic rope scaling needs a positive original_max_position_embeddings");
  }
}

void require_within(std::int64_t value, std::int64_t maximum, const char* field) {
  if (value < 1 || value > maximum) {
    throw ValueError(
        concat("config field experts.", field, " is ", value, ", expected 1 to ", maximum));
  }
}

void check_experts(const ExpertsConfig& experts, std::int64_t num_layers) {
  if (experts.num_experts == 0) return;
  const std::int64_t count = experts.num_experts;
  require_within(count, 1 << 16, "num_experts");
  require_within(experts.num_groups, count, "num_groups");
  require_within(experts.top_groups, experts.num_groups, "top_groups");
  const std::int64_t group = count / experts.num_groups;
  if (count % experts.num_groups != 0 || (experts.num_groups > 1 && group < 2)) {
    throw ValueError(concat("config field experts.num_groups is ", experts.num_groups,
                            ", which does not cut ", count, " experts into groups of two or more"));
  }
  require_within(experts.experts_per_token, experts.top_groups * group, "experts_per_token");
  require_positive(experts.intermediate_size, "experts.intermediate_size");
  if (static_cast<std::int64_t>(experts.layers.size()) != num_layers) {
    throw ValueError(concat("config field experts.layers has ", experts.layers.size(),
                            " entries for ", num_layers, " layers"));
  }
}

}  // namespace

void ModelConfig::check() const {
  require_positive(vocab_size, "vocab_size");
  require_positive(hidden_size, "hidden_size");
  require_positive(intermediate_size, "intermediate_size");
  require_positive(num_layers, "num_layers");
  require_positive(num_heads, "num_heads");
  require_positive(num_kv_heads, "num_kv_heads");
  require_positive(head_dim, "head_dim");
  if (num_heads % num_kv_heads != 0) {
    throw ValueError(
        concat("num_heads ", num_heads, " is not a multiple of num_kv_heads ", num_kv_heads));
  }
  if (head_dim % 2 != 0) throw ValueError(concat("head_dim must be even, found ", head_dim));
  if (activation != "silu" && activation != "gelu_tanh") {
    throw ValueError(concat("activation '", activation, "' is not one of silu, gelu_tanh"));
  }
  if (static_cast<std::int64_t>(layer_is_sliding.size()) != num_layers) {
    throw ValueError(
        concat("layer types: ", layer_is_sliding.size(), " given for ", num_layers, " layers"));
  }
  if ((attention == AttentionKind::block_causal) != (block_length > 0)) {
    throw ValueError(concat("block_length ", block_length, " does not fit the attention"));
  }
  if (mask_token_id != kNoToken && (mask_token_id < 0 || mask_token_id >= vocab_size)) {
    throw ValueError(concat("mask_token_id ", mask_token_id, " is outside [0, ", vocab_size, ")"));
  }
  if (rotary_dim < 0 || rotary_dim > head_dim || rotary_dim % 2 != 0) {
    throw ValueError(concat("rotary_dim ", rotary_dim, " is not an even part of ", head_dim));
  }
  check_experts(experts, num_layers);
  bool any_sliding = false;
  bool any_full = false;
  for (const bool sliding : layer_is_sliding) (sliding ? any_sliding : any_full) = true;
  if (any_sliding) {
    require_positive(sliding_window, "sliding_window");
    check_rope(rope_sliding, rotary_dim, "sliding");
  }
  if (any_full) check_rope(rope_full, rotary_dim, "full");
}

}  // namespace foresight
