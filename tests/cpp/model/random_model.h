// A tiny config and random weights for any family.
#pragma once

#include <cmath>
#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "core/rng.h"
#include "model/config.h"
#include "model/weights.h"

namespace foresight::model_test {

inline RopeConfig tiny_rope(std::int64_t head_dim, double theta = 10000.0) {
  RopeConfig rope;
  rope.theta = theta;
  for (std::int64_t d = 0; d < head_dim; d += 2) {
    const double exponent = static_cast<double>(d) / static_cast<double>(head_dim);
    rope.inverse_frequencies.push_back(static_cast<float>(1.0 / std::pow(theta, exponent)));
  }
  return rope;
}

inline ModelConfig tiny_config(const std::string& family) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 50;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.attention_scale = 0.25f;
  config.layer_is_sliding = {false, false};
  config.rotary_dim = config.head_dim;
  config.rope_full = tiny_rope(config.head_dim);
  return config;
}

inline ModelConfig tiny_experts_config() {
  ModelConfig config = tiny_config("llada2");
  config.rotary_dim = config.head_dim / 2;
  config.rope_full = tiny_rope(config.rotary_dim);
  config.experts = {.num_experts = 8,
                    .experts_per_token = 2,
                    .intermediate_size = 24,
                    .shared_intermediate_size = 24,
                    .sigmoid = true,
                    .num_groups = 4,
                    .top_groups = 2,
                    .normalize = true,
                    .scale = 2.5f,
                    .choice_bias = true,
                    .layers = {false, true}};
  return config;
}

// Owns the numbers of the weights that it adds.
class RandomWeights {
 public:
  explicit RandomWeights(const ModelConfig& config, std::uint64_t seed = 1) : seed_(seed) {
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t q_size = config.num_heads * config.head_dim;
    const std::int64_t kv_size = config.num_kv_heads * config.head_dim;
    add("embed", {config.vocab_size, hidden}, 1.0f);
    add("lm_head", {config.vocab_size, hidden}, 0.3f);
    add("final_norm", {hidden}, 0.2f, 1.0f);
    for (std::int64_t i = 0; i < config.num_layers; ++i) {
      const std::string prefix = "layers." + std::to_string(i) + ".";
      for (const char* name : {"attn_norm", "post_attn_norm", "mlp_norm", "post_mlp_norm"}) {
        add(prefix + name, {hidden}, 0.2f, 1.0f);
      }
      for (const char* name : {"q_norm", "k_norm"}) {
        add(prefix + name, {config.head_dim}, 0.2f, 1.0f);
      }
      add(prefix + "q", {q_size, hidden}, 0.3f);
      add(prefix + "k", {kv_size, hidden}, 0.3f);
      add(prefix + "v", {kv_size, hidden}, 0.3f);
      add(prefix + "o", {hidden, q_size}, 0.3f);
      add(prefix + "q_bias", {q_size}, 0.1f);
      add(prefix + "k_bias", {kv_size}, 0.1f);
      add(prefix + "v_bias", {kv_size}, 0.1f);
      add_mlp(prefix, hidden, config.intermediate_size);
      const ExpertsConfig& experts = config.experts;
      if (experts.num_experts == 0) continue;
      add(prefix + "router", {experts.num_experts, hidden}, 0.5f);
      add(prefix + "router_bias", {experts.num_experts}, 0.2f);
      for (std::int64_t e = 0; e < experts.num_experts; ++e) {
        add_mlp(prefix + "experts." + std::to_string(e) + ".", hidden, experts.intermediate_size);
      }
      add_mlp(prefix + "shared.", hidden, experts.shared_intermediate_size);
    }
  }

  // A LoRA adapter of this rank beside a linear layer [outputs, inputs].
  void add_adapter(const std::string& name, std::int64_t outputs, std::int64_t inputs,
                   std::int64_t rank) {
    add(name + ".lora_a", {rank, inputs}, 0.3f);
    add(name + ".lora_b", {outputs, rank}, 0.3f);
  }

  const Weights& weights() const { return weights_; }

 private:
  void add_mlp(const std::string& prefix, std::int64_t hidden, std::int64_t inner) {
    add(prefix + "gate", {inner, hidden}, 0.3f);
    add(prefix + "up", {inner, hidden}, 0.3f);
    add(prefix + "down", {hidden, inner}, 0.3f);
  }

  void add(const std::string& name, std::vector<std::int64_t> shape, float scale,
           float centre = 0.0f) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    std::vector<float>& values = storage_.emplace_back();
    ++num_tensors_;
    for (std::int64_t i = 0; i < count; ++i) {
      const double drawn = uniform({.seed = seed_}, static_cast<std::uint64_t>(i), num_tensors_);
      values.push_back(centre + scale * static_cast<float>(2.0 * drawn - 1.0));
    }
    weights_.add(name, {.data = values.data(), .dtype = DType::f32, .shape = std::move(shape)});
  }

  std::uint64_t seed_;
  std::uint32_t num_tensors_ = 0;
  std::list<std::vector<float>> storage_;
  Weights weights_;
};

}  // namespace foresight::model_test
