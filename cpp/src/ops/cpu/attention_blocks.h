// The inner loops of attention: scores of a few pages, weighted values of a few pages, for a
// constant number of streams (a stream is one query head of one query).
#pragma once

#include "ops/attention.h"
#include "ops/cpu/attention_pieces.h"
#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

constexpr int kPageVecs = static_cast<int>(kPageSlots) / kWidth;
constexpr int kMaxStreams = kWidth >= 8 ? 4 : 2;
constexpr int kAccumulators = kVectorRegisters >= 32 ? 16 : 8;
constexpr int kBlockPieces = 4;  // pages whose keys or values stay in the first-level cache
constexpr std::int64_t kScoreStride = kAttentionChunk + kPageSlots;

constexpr int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}
constexpr int pieces_at_once(int streams) {
  return clamp(kAccumulators / (streams * kPageVecs), 1, kBlockPieces);
}
constexpr int value_vecs_at_once(int streams) { return clamp(kAccumulators / streams, 1, 8); }

// Consecutive streams of a group.
struct Streams {
  const float* const* q;
  float* const* out;
  float* scores;
};

// Scores of all slots of kPieces pages, of which the visible ones are kept.
template <typename Storage, int kStreams, int kPieces>
void score_block(const Piece<typename Storage::Element>* pieces, const Streams& streams,
                 std::int64_t head_dim, const char* const* ahead) {
  using Element = typename Storage::Element;
  constexpr int kInputs = Storage::kPaired ? 2 : 1;
  Vec sums[kPieces][kPageVecs][kStreams];
#pragma GCC unroll 4
  for (int p = 0; p < kPieces; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kPageVecs; ++v) {
#pragma GCC unroll 4
      for (int s = 0; s < kStreams; ++s) sums[p][v][s] = zero();
    }
  }
  for (std::int64_t d = 0; d < head_dim; d += kInputs) {
    const std::int64_t offset = d * kPageSlots;
#pragma GCC unroll 4
    for (int p = 0; p < kPieces; ++p) {
      prefetch(ahead[p] + offset * static_cast<std::int64_t>(sizeof(Element)));
#pragma GCC unroll 4
      for (int v = 0; v < kPageVecs; ++v) {
        const Element* keys = pieces[p].keys + offset + v * kWidth * kInputs;
        if constexpr (Storage::kPaired) {
          Vec first, second;
          load_pairs(keys, first, second);
#pragma GCC unroll 4
          for (int s = 0; s < kStreams; ++s)
            sums[p][v][s] = fma(set1(streams.q[s][d]), first, sums[p][v][s]);
#pragma GCC unroll 4
          for (int s = 0; s < kStreams; ++s)
            sums[p][v][s] = fma(set1(streams.q[s][d + 1]), second, sums[p][v][s]);
        } else {
          const Vec key = load(Storage{}, keys);
#pragma GCC unroll 4
          for (int s = 0; s < kStreams; ++s)
            sums[p][v][s] = fma(set1(streams.q[s][d]), key, sums[p][v][s]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPieces; ++p) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      float* scores = streams.scores + s * kScoreStride + pieces[p].ordinal;
      if (pieces[p].count == kPageSlots) {
#pragma GCC unroll 4
        for (int v = 0; v < kPageVecs; ++v) store(F32{}, scores + v * kWidth, sums[p][v][s]);
      } else {
        float page_scores[kPageSlots];
#pragma GCC unroll 4
        for (int v = 0; v < kPageVecs; ++v) store(F32{}, page_scores + v * kWidth, sums[p][v][s]);
        for (std::int32_t i = 0; i < pieces[p].count; ++i)
          scores[i] = page_scores[pieces[p].slot + i];
      }
    }
  }
}

// Adds the weighted values of some pieces, columns [d, d + kVecs * kWidth) of them (the first
// `partial` ones of a single vector when that is not 0).
template <typename Storage, int kStreams, int kVecs>
void value_block(const Piece<typename Storage::Element>* pieces, std::int64_t num_pieces,
                 const Streams& streams, std::int64_t head_dim, std::int64_t d,
                 std::int64_t partial, const char* const* ahead) {
  using Element = typename Storage::Element;
  Vec sums[kVecs][kStreams];
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) sums[v][s] = load(F32{}, streams.out[s] + d + v * kWidth);
  }
  for (std::int64_t p = 0; p < num_pieces; ++p) {
    const std::int64_t first = pieces[p].slot * head_dim + d;
    const Element* values = pieces[p].values + first;
    const char* next = ahead[p] + first * static_cast<std::int64_t>(sizeof(Element));
    const float* weights = streams.scores + pieces[p].ordinal;
    for (std::int32_t i = 0; i < pieces[p].count; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        if (v * kWidth * sizeof(Element) % 64 == 0) prefetch(next + v * kWidth * sizeof(Element));
        const Vec value = kVecs == 1 && partial != 0 ? load_n(Storage{}, values, partial)
                                                     : load(Storage{}, values + v * kWidth);
#pragma GCC unroll 4
        for (int s = 0; s < kStreams; ++s)
          sums[v][s] = fma(set1(weights[s * kScoreStride + i]), value, sums[v][s]);
      }
      values += head_dim;
      next += head_dim * static_cast<std::int64_t>(sizeof(Element));
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) store(F32{}, streams.out[s] + d + v * kWidth, sums[v][s]);
  }
}

// Columns [d, head_dim).
template <typename Storage, int kStreams, int kVecs = value_vecs_at_once(kStreams)>
void value_columns(const Piece<typename Storage::Element>* pieces, std::int64_t num_pieces,
                   const Streams& streams, std::int64_t head_dim, std::int64_t d,
                   const char* const* ahead) {
  for (; d + kVecs * kWidth <= head_dim; d += kVecs * kWidth) {
    value_block<Storage, kStreams, kVecs>(pieces, num_pieces, streams, head_dim, d, 0, ahead);
  }
  if constexpr (kVecs > 1) {
    value_columns<Storage, kStreams, kVecs / 2>(pieces, num_pieces, streams, head_dim, d, ahead);
  } else if (d < head_dim) {
    value_block<Storage, kStreams, 1>(pieces, num_pieces, streams, head_dim, d, head_dim - d,
                                      ahead);
  }
}

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS
