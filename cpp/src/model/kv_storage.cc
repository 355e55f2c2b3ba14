#include "model/kv_storage.h"

namespace foresight {

KvStorage::KvStorage(const ModelConfig& config, DType dtype)
    : num_layers_(config.num_layers),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      dtype_(dtype) {}

std::size_t KvStorage::layer_page_bytes() const {
  return static_cast<std::size_t>(num_kv_heads_ * head_dim_ * ops::kPageSlots) * size_of(dtype_);
}

std::size_t KvStorage::page_bytes() const {
  return 2 * static_cast<std::size_t>(num_layers_) * layer_page_bytes();
}

void KvStorage::allocate(std::int64_t num_pages) {
  const std::size_t bytes = static_cast<std::size_t>(num_pages) * layer_page_bytes();
  keys_.clear();
  values_.clear();
  for (std::int64_t i = 0; i < num_layers_; ++i) {
    keys_.emplace_back(bytes);
    values_.emplace_back(bytes);
  }
}

ops::KvPages KvStorage::layer(std::int64_t index) {
  const auto i = static_cast<std::size_t>(index);
  return {.keys = keys_[i].data(),
          .values = values_[i].data(),
          .dtype = dtype_,
          .num_kv_heads = num_kv_heads_,
          .head_dim = head_dim_};
}

void KvStorage::copy(std::span<const SlotCopy> copies) {
  if (copies.empty()) return;
  from_.clear();
  to_.clear();
  for (const SlotCopy& copy : copies) {
    from_.push_back({copy.from_page, copy.from_slot});
    to_.push_back({copy.to_page, copy.to_slot});
  }
  for (std::int64_t i = 0; i < num_layers_; ++i) ops::kv_copy(layer(i), from_, to_);
}

}  // namespace foresight
