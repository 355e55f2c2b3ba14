// The bytes of K and V of all layers, page by page (layout: ops/kv_pages.h). Memory is taken from
// the operating system at once but costs nothing until a page is first written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "core/buffer.h"
#include "model/config.h"
#include "ops/kv_pages.h"

namespace foresight {

class KvStorage {
 public:
  KvStorage(const ModelConfig& config, DType dtype);

  std::size_t page_bytes() const;  // all layers, K and V
  void allocate(std::int64_t num_pages);
  ops::KvPages layer(std::int64_t index);
  void copy(std::span<const SlotCopy> copies);

 private:
  std::size_t layer_page_bytes() const;  // K or V of one layer

  std::int64_t num_layers_;
  std::int64_t num_kv_heads_;
  std::int64_t head_dim_;
  DType dtype_;
  std::vector<Buffer> keys_;    // per layer: [pages, page elements]
  std::vector<Buffer> values_;  // per layer
  std::vector<ops::KvSlot> from_;
  std::vector<ops::KvSlot> to_;
};

}  // namespace foresight
