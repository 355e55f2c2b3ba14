#include "decode/context_rows.h"

#include <algorithm>

namespace foresight {

std::int64_t context_start(const ModelFacts& model, std::int64_t index) {
  switch (model.attention) {
    case AttentionKind::causal:
      return index;
    case AttentionKind::block_causal:
      return index / model.block_length * model.block_length;
    case AttentionKind::full:
    case AttentionKind::semi_causal:
      return 0;
  }
  return 0;
}

std::int64_t context_end(const ModelFacts& model, std::int64_t end, std::int64_t length) {
  switch (model.attention) {
    case AttentionKind::causal:
      return end;
    case AttentionKind::block_causal: {
      const std::int64_t block = model.block_length;
      return std::min((end + block - 1) / block * block, length);
    }
    case AttentionKind::full:
    case AttentionKind::semi_causal:
      return length;
  }
  return length;
}

std::vector<Row> context_rows(const ModelFacts& model, std::span<const Token> tokens,
                              std::int64_t begin, std::int64_t end) {
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(end - begin));
  std::int32_t num_masks = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    Row& row = rows.emplace_back();
    row.token = tokens[static_cast<std::size_t>(i)];
    row.position = static_cast<std::int32_t>(i);
    switch (model.attention) {
      case AttentionKind::causal:
        row.rank = static_cast<std::int32_t>(i - begin);
        break;
      case AttentionKind::block_causal:
        row.rank = static_cast<std::int32_t>(i / model.block_length - begin / model.block_length);
        break;
      case AttentionKind::full:
        break;
      case AttentionKind::semi_causal:
        if (row.token == model.mask_token) row.rank = ++num_masks;
        break;
    }
    row.limit = row.rank;
  }
  return rows;
}

}  // namespace foresight
