// What the engine needs of a model: one forward over ragged rows, and the bytes of K/V behind the
// cache's page numbers. Our own C++ decoders implement it; so can anything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/cpu_context.h"
#include "cache/cache.h"
#include "model/config.h"
#include "ops/packed_matrix.h"
#include "rows/rows.h"

namespace foresight {

// Rows of one sequence in a forward. Their K/V go to slots num_cached, num_cached + 1, ... of it.
struct SegmentInput {
  std::span<const std::int32_t> pages;  // cover num_cached + num_rows slots
  std::int64_t num_cached = 0;
  std::int64_t first_row = 0;  // in the batch's row arrays
  std::int64_t num_rows = 0;
  std::int64_t rope_length = 0;  // longest length the request may reach (dynamic rope scaling)
  std::span<const std::uint64_t>
      ancestors;  // [num_rows, ceil(num_rows / 64)], or empty: ranks and limits
  std::span<const std::int32_t> hidden_slots;  // cached slots that rows replace, ascending
  std::span<const std::int32_t>
      cached_positions;  // [num_cached], or empty: position of slot s is s
};

struct ForwardBatch {
  std::vector<SegmentInput> segments;
  // Per row [T]:
  std::vector<Token> tokens;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> ranks;
  std::vector<std::int32_t> limits;
  std::vector<std::uint8_t> adapter;  // 1: through the model's adapter, where it has one
  // [T, hidden_size], for models whose rows hold a feature beside the token (model/heads); or null.
  const float* features = nullptr;
  // Rows whose logits, or hidden states, are wanted, in the order of the answers; may repeat.
  std::vector<std::int32_t> logit_rows;
  std::vector<std::int32_t> hidden_rows;
  std::vector<std::int32_t>
      hidden_layers;  // 0: embedding; i: after layer i, the last after the final norm

  void clear();
  void add_row(Token token, std::int64_t position, std::int32_t rank, std::int32_t limit,
               bool through_adapter = false);
};

// Valid until the next forward of the same port.
struct ForwardResult {
  float* logits = nullptr;        // [logit_rows, vocab]; the caller may change it in place
  const float* hidden = nullptr;  // [hidden_rows, hidden_layers, hidden_size]
};

// The matrices between tokens and hidden states, shared with whoever drafts for the model.
struct TokenMatrices {
  std::shared_ptr<const ops::PackedMatrix> embedding;  // [vocab, hidden]
  std::shared_ptr<const ops::PackedMatrix> output;     // [vocab, hidden]
};

class ModelPort {
 public:
  virtual ~ModelPort() = default;
  virtual const ModelConfig& config() const = 0;
  // Bytes of K and V of one page, all layers.
  virtual std::size_t page_bytes() const = 0;
  virtual std::int64_t page_slots() const = 0;
  // Called once, before the first forward. Throws std::bad_alloc.
  virtual void allocate_pages(std::int64_t num_pages) = 0;
  virtual void copy_slots(std::span<const SlotCopy> copies) = 0;
  virtual ForwardResult forward(const ForwardBatch& batch) = 0;
  // Bytes of the weights as held by the port.
  virtual std::size_t packed_bytes() const = 0;
  // A port of its own, with its own K/V, over the first `num_layers` layers of the same weights and
  // the same output head. Throws ValueError when the weights are packed for other kernels,
  // NotImplementedError when they cannot be shared.
  virtual std::unique_ptr<ModelPort> share(const CpuContext& context,
                                           std::int64_t num_layers) const;
  // Throws NotImplementedError when they cannot be shared.
  virtual TokenMatrices token_matrices() const;
};

}  // namespace foresight
