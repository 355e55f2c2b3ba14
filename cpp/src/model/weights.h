// The named tensors of a checkpoint, taken one by one under a shape check.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/tensor_view.h"

namespace foresight {

// Canonical names: embed, positions, final_norm, lm_head, layers.{i}.{attn_norm, q, k, v, o,
// q_bias, k_bias, v_bias, o_bias, q_norm, k_norm, post_attn_norm, mlp_norm, gate, up, down,
// gate_bias, up_bias, down_bias, post_mlp_norm}.
// Layers with experts have, in place of gate, up and down: router, router_bias, and gate, up and
// down under experts.{e}. and shared.; a linear layer with an adapter has {name}.lora_a [rank,
// inputs] and {name}.lora_b [outputs, rank] beside it.
class Weights {
 public:
  void add(std::string name, TensorView view) {
    views_.insert_or_assign(std::move(name), std::move(view));
  }

  // Null where there is none.
  const TensorView* find(const std::string& name) const;
  // Throws ValueError naming the tensor, the expected and the found shape.
  const TensorView& get(const std::string& name, std::initializer_list<std::int64_t> shape) const;
  // A vector [size] as float32, `offset` added to each element (Gemma's 1 + w).
  std::vector<float> vector(const std::string& name, std::int64_t size, float offset = 0.0f) const;

  std::size_t num_bytes() const;

 private:
  std::unordered_map<std::string, TensorView> views_;
};

}  // namespace foresight
