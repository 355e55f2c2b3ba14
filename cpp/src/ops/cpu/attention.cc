// Attention of one tile over paged K and V. For each chunk of kAttentionChunk ordinals: the scores
// of its keys, their exponentials, the weighted sum of its values.
//
// A stream is one query head of one query. Streams are taken kMaxStreams at a time, and the queries
// of a group share the leading ordinals of a chunk that lie in the same slots, so that K and V are
// loaded and widened once for all of them. Neither changes any stream's own chains.
#include "ops/attention.h"

#include "ops/cpu/attention_blocks.h"
#include "ops/cpu/attention_pieces.h"
#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

constexpr float kInfinity = __builtin_inff();

// The two passes over a block of pieces, for a constant number of streams.
struct ScorePass {
  static constexpr bool kOnKeys = true;
  template <typename Storage, int kStreams>
  FORESIGHT_INLINE static void run(const Piece<typename Storage::Element>* pieces,
                                   std::int64_t num_pieces, const Streams& streams,
                                   std::int64_t head_dim, const char* const* ahead) {
    constexpr int kPieces = pieces_at_once(kStreams);
    std::int64_t p = 0;
    for (; p + kPieces <= num_pieces; p += kPieces) {
      score_block<Storage, kStreams, kPieces>(pieces + p, streams, head_dim, ahead + p);
    }
    if constexpr (kPieces > 1) {
      for (; p < num_pieces; ++p)
        score_block<Storage, kStreams, 1>(pieces + p, streams, head_dim, ahead + p);
    }
  }
};
struct ValuePass {
  static constexpr bool kOnKeys = false;
  template <typename Storage, int kStreams>
  FORESIGHT_INLINE static void run(const Piece<typename Storage::Element>* pieces,
                                   std::int64_t num_pieces, const Streams& streams,
                                   std::int64_t head_dim, const char* const* ahead) {
    value_columns<Storage, kStreams>(pieces, num_pieces, streams, head_dim, 0, ahead);
  }
};

template <typename Pass, typename Storage, int kStreams = kMaxStreams>
void for_streams(const Piece<typename Storage::Element>* pieces, std::int64_t num_pieces,
                 Streams streams, std::int64_t num_streams, std::int64_t head_dim,
                 const char* const* ahead) {
  for (; num_streams >= kStreams; num_streams -= kStreams) {
    Pass::template run<Storage, kStreams>(pieces, num_pieces, streams, head_dim, ahead);
    streams = {streams.q + kStreams, streams.out + kStreams,
               streams.scores + kStreams * kScoreStride};
  }
  if constexpr (kStreams > 1) {
    for_streams<Pass, Storage, kStreams / 2>(pieces, num_pieces, streams, num_streams, head_dim,
                                             ahead);
  }
}

// Runs a pass over pieces block by block. Each block prefetches the next one; the last block of
// keys prefetches the first values.
template <typename Pass, typename Storage>
void for_pieces(const Piece<typename Storage::Element>* pieces, std::int64_t num_pieces,
                const Streams& streams, std::int64_t num_streams, std::int64_t head_dim) {
  constexpr bool kOnKeys = Pass::kOnKeys;
  for (std::int64_t begin = 0; begin < num_pieces; begin += kBlockPieces) {
    const std::int64_t size = num_pieces - begin < kBlockPieces ? num_pieces - begin : kBlockPieces;
    const char* ahead[kBlockPieces];
    for (std::int64_t p = 0; p < size; ++p) {
      const std::int64_t next = begin + kBlockPieces + p;
      const auto& piece = pieces[next < num_pieces ? next : kOnKeys ? p : begin + p];
      ahead[p] =
          reinterpret_cast<const char*>(kOnKeys && next < num_pieces ? piece.keys : piece.values);
    }
    for_streams<Pass, Storage>(pieces + begin, size, streams, num_streams, head_dim, ahead);
  }
}

// Turns the scores of one stream's chunk into exponentials and rescales its running sums to them.
void soften(float* scores, std::int64_t count, float scale, float& max_so_far, float& sum_so_far,
            float* out, std::int64_t head_dim) {
  for (std::int64_t i = count; i % kWidth != 0; ++i) scores[i] = -kInfinity;
  Vec best = set1(max_so_far);
  for (std::int64_t i = 0; i < count; i += kWidth) {
    const Vec score = mul(load(F32{}, scores + i), set1(scale));  // padding stays -inf: scale > 0
    store(F32{}, scores + i, score);
    best = max(score, best);
  }
  const float new_max = greatest(best);
  // When every score so far is -inf, exp(-inf - 0) keeps the sums at 0 instead of NaN.
  const Vec shift = set1(new_max == -kInfinity ? 0.0f : new_max);
  Vec sums = zero();
  for (std::int64_t i = 0; i < count; i += kWidth) {
    const Vec weight = exp(sub(load(F32{}, scores + i), shift));
    store(F32{}, scores + i, weight);
    sums = add(sums, weight);
  }
  const Vec rescale = exp(sub(set1(max_so_far), shift));
  for (std::int64_t d = 0; d < head_dim; d += kWidth)
    store(F32{}, out + d, mul(load(F32{}, out + d), rescale));
  sum_so_far = sum_so_far * first_lane(rescale) + sum(sums);
  max_so_far = new_max;
}

// Everything a group needs that is too large for registers.
template <typename Storage>
struct Group {
  Pieces<typename Storage::Element> lists[kAttentionGroup];
  Pieces<typename Storage::Element> common;
  std::int64_t counts[kAttentionGroup];   // ordinals of each live query in this chunk
  std::int64_t queries[kAttentionGroup];  // of the tile
  std::int64_t rest_begin[kAttentionGroup];
  std::int64_t size;  // live queries
};

template <typename Pass, typename Storage>
void for_group(const AttentionTile& tile, const Group<Storage>& group) {
  const std::int64_t heads = tile.heads_per_kv;
  const std::int64_t head_dim = tile.pages.head_dim;
  const auto streams_from = [&](std::int64_t stream) {
    return Streams{tile.work.stream_q + stream, tile.work.stream_out + stream,
                   tile.work.scores + stream * kScoreStride};
  };
  for_pieces<Pass, Storage>(group.common.items, group.common.size, streams_from(0),
                            group.size * heads, head_dim);
  for (std::int64_t i = 0; i < group.size; ++i) {
    const std::int64_t begin = group.rest_begin[i];
    for_pieces<Pass, Storage>(group.lists[i].items + begin, group.lists[i].size - begin,
                              streams_from(i * heads), heads, head_dim);
  }
}

// One chunk of queries [begin, end); returns whether any of them had one.
template <typename Storage>
bool walk_chunk(const AttentionTile& tile, std::int64_t begin, std::int64_t end,
                Group<Storage>& group) {
  const std::int64_t heads = tile.heads_per_kv;
  const std::int64_t head_dim = tile.pages.head_dim;
  const std::int64_t padded_dim = (head_dim + 15) / 16 * 16;
  group.size = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t count = take_chunk(tile, i, group.lists[group.size]);
    if (count == 0) continue;
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t stream = group.size * heads + h;
      tile.work.stream_q[stream] =
          tile.q + tile.queries[i].row * tile.q_stride + (tile.kv_head * heads + h) * head_dim;
      tile.work.stream_out[stream] = tile.work.out + (i * heads + h) * padded_dim;
    }
    group.counts[group.size] = count;
    group.queries[group.size++] = i;
  }
  if (group.size == 0) return false;
  split_common(group.lists, group.size, group.common, group.rest_begin);
  for_group<ScorePass>(tile, group);
  for (std::int64_t s = 0; s < group.size * heads; ++s) {
    const std::int64_t state = group.queries[s / heads] * heads + s % heads;
    soften(tile.work.scores + s * kScoreStride, group.counts[s / heads], tile.scale,
           tile.work.max[state], tile.work.sum[state], tile.work.stream_out[s], head_dim);
  }
  for_group<ValuePass>(tile, group);
  return true;
}

template <typename Storage>
void walk_tile(const AttentionTile& tile) {
  const std::int64_t heads = tile.heads_per_kv;
  const std::int64_t head_dim = tile.pages.head_dim;
  const std::int64_t padded_dim = (head_dim + 15) / 16 * 16;
  const std::int64_t num_streams = tile.num_queries * heads;
  for (std::int64_t i = 0; i < tile.num_queries; ++i) tile.work.cursors[i] = {0, 0};
  for (std::int64_t i = 0; i < num_streams * padded_dim; ++i) tile.work.out[i] = 0.0f;
  for (std::int64_t s = 0; s < num_streams; ++s) {
    tile.work.max[s] = -kInfinity;
    tile.work.sum[s] = 0.0f;
  }
  Group<Storage> group;
  for (bool more = true; more;) {
    more = false;
    for (std::int64_t i = 0; i < tile.num_queries; i += kAttentionGroup) {
      const std::int64_t end = i + kAttentionGroup;
      more |= walk_chunk(tile, i, end < tile.num_queries ? end : tile.num_queries, group);
    }
  }
  for (std::int64_t s = 0; s < num_streams; ++s) {
    float* to = tile.out + tile.queries[s / heads].row * tile.out_stride +
                (tile.kv_head * heads + s % heads) * head_dim;
    const float* from = tile.work.out + s * padded_dim;
    const Vec total = set1(tile.work.sum[s]);
    for (std::int64_t d = 0; d < head_dim; d += kWidth) {
      store_n(F32{}, to + d, div(load(F32{}, from + d), total),
              head_dim - d < kWidth ? head_dim - d : kWidth);
    }
  }
}

void attention(const AttentionTile& tile) {
  switch (tile.pages.dtype) {
    case DType::f32:
      walk_tile<F32>(tile);
      break;
    case DType::bf16:
      walk_tile<Bf16>(tile);
      break;
    case DType::f16:
      walk_tile<F16>(tile);
      break;
  }
}

}  // namespace

void register_attention(KernelRegistry& registry) {
  registry.add<AttentionKernel>(Isa(FORESIGHT_ISA_LEVEL), &attention);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
