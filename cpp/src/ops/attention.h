// Attention of ragged segments over a paged K/V cache, with the rank/limit rule.
//
// A segment is a set of rows of one sequence. The sequence's slots [0, num_cached) are cached keys;
// the K/V of row i of the segment are in slot num_cached + i (written before this op is called).
// Query row q sees
//   - every cached slot, except those listed in `hidden_slots` (slots that a row of this segment
//     replaces), and
//   - row k of the segment iff  rank[k] <= limit[q]  or  k == q;
//     in the second form (ancestors != null) iff bit k of q's bit-set is set or k == q,
// both only within the layer's sliding window by position: position[q] - position[k] < window, for
// keys after the query as well as before: |position[q] - position[k]| < window.
//
// Order of sums: q's visible keys are numbered 0, 1, 2, ... (cached slots in ascending order, then
// rows of the segment in ascending order). A score is one chain over d. The keys are taken in
// chunks of kAttentionChunk ordinals, from ordinal 0: the running sums are rescaled to the chunk's
// maximum, then its exponentials are added in a fixed lane order, and its weighted values in one
// chain over ordinals. So the result depends on the list of visible keys alone: a cached key and
// the same key in the step give the same bits, and neither the batch, nor the tile, nor the number
// of threads can be seen in it.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "backend/cpu_context.h"
#include "core/buffer.h"
#include "ops/kv_pages.h"

namespace foresight::ops {

inline constexpr std::int64_t kAttentionChunk = 256;

struct AttentionSegment {
  const std::int32_t* pages =
      nullptr;  // page ids of the sequence, covering num_cached + num_rows slots
  std::int64_t num_cached = 0;
  std::int64_t num_rows = 0;
  std::int64_t first_row = 0;  // of q and out: rows [first_row, first_row + num_rows)
  const std::int32_t* cached_positions = nullptr;  // [num_cached], or null: position of slot s is s
  const std::int32_t* positions = nullptr;         // [num_rows]
  const std::int32_t* ranks = nullptr;             // [num_rows]
  const std::int32_t* limits = nullptr;            // [num_rows]
  const std::uint64_t* ancestors =
      nullptr;  // [num_rows, ceil(num_rows / 64)], or null: ranks and limits
  std::span<const std::int32_t> hidden_slots;  // ascending, each < num_cached
};

struct AttentionArgs {
  const float* q = nullptr;    // [T, num_heads, head_dim], row stride q_stride
  std::int64_t q_stride = 0;   // elements
  std::int64_t num_heads = 0;  // a multiple of pages.num_kv_heads
  KvPages pages;
  float scale = 1.0f;       // of the scores, > 0
  std::int64_t window = 0;  // 0: none
  std::span<const AttentionSegment> segments;
  float* out = nullptr;  // [T, num_heads, head_dim], row stride out_stride
  std::int64_t out_stride = 0;
};

// One run of consecutive slots of a sequence, in ordinal order.
struct SlotRun {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

// One query row of a tile, with the runs of slots it sees.
struct AttentionQuery {
  std::int64_t row = 0;  // of q and out
  const std::int32_t* pages = nullptr;
  std::int64_t first_run = 0;  // of the tile's runs; at least one: a row sees itself
  std::int64_t num_runs = 0;
};

// Queries of a tile that the kernel takes at once, so that they share loads of K and V.
inline constexpr std::int64_t kAttentionGroup = 4;

// Scratch of one tile; a stream is one query head of one query, D is head_dim rounded up to 16.
struct AttentionWorkspace {
  float* out = nullptr;              // [streams of the tile, D]: weighted values so far
  float* max = nullptr;              // [streams of the tile]: greatest score so far
  float* sum = nullptr;              // [streams of the tile]: exponentials so far
  float* scores = nullptr;           // [streams of a group, kAttentionChunk + kPageSlots]
  const float** stream_q = nullptr;  // [streams of a group]
  float** stream_out = nullptr;      // [streams of a group]: their rows of `out`
  SlotRun* cursors = nullptr;  // [queries of the tile]: {runs finished, slots taken of the next}
};

// A tile: queries (of one or several segments that share leading pages) that walk over the same
// pages chunk by chunk, so that a shared prefix is read from memory once. The kernel computes all
// query heads of one K/V head. Plain data, as everything that kernels receive.
struct AttentionTile {
  const float* q = nullptr;
  std::int64_t q_stride = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  std::int64_t heads_per_kv = 0;
  KvPages pages;
  float scale = 1.0f;
  std::int64_t kv_head = 0;
  const SlotRun* runs = nullptr;
  const AttentionQuery* queries = nullptr;
  std::int64_t num_queries = 0;
  AttentionWorkspace work;
};

struct AttentionKernel {
  static constexpr const char* kName = "attention";
  using Signature = void(const AttentionTile& tile);
};

// Queries [begin, end) of one tile, before it is given a K/V head.
struct QueryRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Reused between steps, so that a step does not allocate.
struct AttentionScratch {
  std::vector<SlotRun> runs;
  std::vector<AttentionQuery> queries;
  std::vector<QueryRange> tiles;
  Scratch work;  // one workspace per thread
};

// Throws InternalError on inconsistent shapes.
void attention(const CpuContext& context, const AttentionArgs& args, AttentionScratch& scratch);

// The runs of slots that row `row` of `segment` sees, in ordinal order (also the tests' subject).
void visible_runs(const AttentionSegment& segment, std::int64_t row, std::int64_t window,
                  std::vector<SlotRun>& out);

}  // namespace foresight::ops
