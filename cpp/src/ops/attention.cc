#include "ops/attention.h"

#include <algorithm>

#include "ops/tasks.h"

namespace foresight::ops {
namespace {

constexpr std::int64_t kMaxTileQueries = 64;

std::int64_t padded_dim(const KvPages& pages) { return (pages.head_dim + 15) / 16 * 16; }

// Cuts one thread's workspace out of raw memory; without memory it only measures.
class WorkspaceBuilder {
 public:
  explicit WorkspaceBuilder(std::byte* memory) : memory_(memory) {}

  AttentionWorkspace build(std::int64_t num_queries, std::int64_t heads_per_kv, std::int64_t dim) {
    const std::int64_t streams = num_queries * heads_per_kv;
    const std::int64_t group_streams = std::min(num_queries, kAttentionGroup) * heads_per_kv;
    AttentionWorkspace work;
    work.out = take<float>(streams * dim);
    work.scores = take<float>(group_streams * (kAttentionChunk + kPageSlots));
    work.max = take<float>(streams);
    work.sum = take<float>(streams);
    work.stream_q = take<const float*>(group_streams);
    work.stream_out = take<float*>(group_streams);
    work.cursors = take<SlotRun>(num_queries);
    return work;
  }
  std::size_t num_bytes() const { return used_; }

 private:
  template <typename T>
  T* take(std::int64_t count) {
    std::byte* begin = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(begin);
  }

  std::byte* memory_;
  std::size_t used_ = 0;
};

void check(const AttentionArgs& args) {
  const KvPages& pages = args.pages;
  FORESIGHT_CHECK(
      pages.num_kv_heads > 0 && args.num_heads > 0 && args.num_heads % pages.num_kv_heads == 0,
      concat("attention of ", args.num_heads, " heads over ", pages.num_kv_heads, " K/V heads"));
  FORESIGHT_CHECK(pages.head_dim > 0 && pages.head_dim % 2 == 0,
                  concat("attention with head_dim ", pages.head_dim));
  FORESIGHT_CHECK(args.q_stride >= args.num_heads * pages.head_dim &&
                      args.out_stride >= args.num_heads * pages.head_dim,
                  concat("attention with row strides ", args.q_stride, " and ", args.out_stride));
  FORESIGHT_CHECK(args.scale > 0.0f, concat("attention with scale ", args.scale));
  FORESIGHT_CHECK(args.window >= 0, concat("attention with window ", args.window));
  for (const AttentionSegment& segment : args.segments) {
    FORESIGHT_CHECK(
        segment.num_rows >= 0 && segment.num_cached >= 0 && segment.first_row >= 0,
        concat("attention segment of ", segment.num_rows, " rows after ", segment.num_cached));
    FORESIGHT_CHECK(
        segment.num_rows == 0 || (segment.pages != nullptr && segment.positions != nullptr),
        "attention segment without pages or positions");
    FORESIGHT_CHECK(segment.num_rows == 0 || segment.ancestors != nullptr ||
                        (segment.ranks != nullptr && segment.limits != nullptr),
                    "attention segment without ranks and limits or ancestors");
  }
}

// Whether `row` sees exactly what the row before it sees: the same limit, and both see themselves
// by rank. Spares long blocks the scan.
bool sees_as_before(const AttentionSegment& segment, std::int64_t row, std::int64_t window) {
  return row > 0 && window == 0 && segment.ancestors == nullptr &&
         segment.limits[row] == segment.limits[row - 1] &&
         segment.ranks[row] <= segment.limits[row] &&
         segment.ranks[row - 1] <= segment.limits[row - 1];
}

bool is_causal(const AttentionSegment& segment) {
  if (segment.ancestors != nullptr) return false;
  for (std::int64_t row = 0; row < segment.num_rows; ++row) {
    if (segment.ranks[row] != row || segment.limits[row] != row) return false;
  }
  return true;
}

// Queries and their runs; returns the number of (query, key) pairs.
std::int64_t add_queries(const AttentionSegment& segment, std::int64_t window,
                         AttentionScratch& scratch) {
  const bool plain = window == 0 && segment.hidden_slots.empty() && is_causal(segment);
  std::int64_t pairs = 0;
  for (std::int64_t row = 0; row < segment.num_rows; ++row) {
    AttentionQuery query{
        .row = segment.first_row + row, .pages = segment.pages, .first_run = 0, .num_runs = 0};
    if (sees_as_before(segment, row, window)) {
      query.first_run = scratch.queries.back().first_run;
      query.num_runs = scratch.queries.back().num_runs;
    } else {
      query.first_run = static_cast<std::int64_t>(scratch.runs.size());
      if (plain) {
        scratch.runs.push_back({0, static_cast<std::int32_t>(segment.num_cached + row + 1)});
      } else {
        visible_runs(segment, row, window, scratch.runs);
      }
      query.num_runs = static_cast<std::int64_t>(scratch.runs.size()) - query.first_run;
    }
    scratch.queries.push_back(query);
    pairs += segment.num_cached + segment.num_rows;
  }
  return pairs;
}

// Whether two sequences share at least half of the pages that the shorter one has cached.
bool share_prefix(const AttentionSegment& a, const AttentionSegment& b) {
  const std::int64_t pages = std::min(a.num_cached, b.num_cached) / kPageSlots;
  const std::int64_t needed = (pages + 1) / 2;
  return pages > 0 && std::equal(a.pages, a.pages + needed, b.pages);
}

// Cuts the queries into tiles: rows of one segment, or of neighbours that share a prefix.
void cut_tiles(const AttentionArgs& args, std::int64_t max_queries,
               std::vector<QueryRange>& tiles) {
  tiles.clear();
  std::int64_t query = 0;
  const AttentionSegment* previous = nullptr;
  for (const AttentionSegment& segment : args.segments) {
    if (segment.num_rows == 0) continue;
    std::int64_t begin = query;
    query += segment.num_rows;
    if (previous != nullptr && share_prefix(*previous, segment)) {
      QueryRange& last = tiles.back();
      const std::int64_t joined = std::min(segment.num_rows, max_queries - (last.end - last.begin));
      last.end += joined;
      begin += joined;
    }
    for (; begin < query; begin += max_queries)
      tiles.push_back({begin, std::min(begin + max_queries, query)});
    previous = &segment;
  }
}

}  // namespace

void attention(const CpuContext& context, const AttentionArgs& args, AttentionScratch& scratch) {
  check(args);
  scratch.runs.clear();
  scratch.queries.clear();
  std::int64_t pairs = 0;
  for (const AttentionSegment& segment : args.segments)
    pairs += add_queries(segment, args.window, scratch);
  const auto num_queries = static_cast<std::int64_t>(scratch.queries.size());
  if (num_queries == 0) return;

  // Tall tiles read K and V less often; at least four tasks per thread keep the threads busy.
  const std::int64_t num_threads = context.threads->num_threads();
  const std::int64_t even_share = num_queries * args.pages.num_kv_heads / (4 * num_threads);
  const std::int64_t max_queries =
      std::clamp(even_share / kAttentionGroup * kAttentionGroup, kAttentionGroup, kMaxTileQueries);
  cut_tiles(args, max_queries, scratch.tiles);

  const std::int64_t heads_per_kv = args.num_heads / args.pages.num_kv_heads;
  WorkspaceBuilder measure(nullptr);
  measure.build(std::min(max_queries, num_queries), heads_per_kv, padded_dim(args.pages));
  auto* memory =
      scratch.work.reserve<std::byte>(measure.num_bytes() * static_cast<std::size_t>(num_threads));
  auto* kernel = context.kernel<AttentionKernel>();
  const auto run = [&](std::size_t task, int thread) {
    // Later rows see more keys: they start first, so that the short tasks fill the end.
    const std::size_t kv_heads = static_cast<std::size_t>(args.pages.num_kv_heads);
    const QueryRange range = scratch.tiles[scratch.tiles.size() - 1 - task / kv_heads];
    WorkspaceBuilder builder(memory + measure.num_bytes() * static_cast<std::size_t>(thread));
    kernel({.q = args.q,
            .q_stride = args.q_stride,
            .out = args.out,
            .out_stride = args.out_stride,
            .heads_per_kv = heads_per_kv,
            .pages = args.pages,
            .scale = args.scale,
            .kv_head = static_cast<std::int64_t>(task % kv_heads),
            .runs = scratch.runs.data(),
            .queries = scratch.queries.data() + range.begin,
            .num_queries = range.end - range.begin,
            .work = builder.build(range.end - range.begin, heads_per_kv, padded_dim(args.pages))});
  };
  const std::size_t num_tasks =
      scratch.tiles.size() * static_cast<std::size_t>(args.pages.num_kv_heads);
  if (pairs * args.num_heads * args.pages.head_dim <= kSerialWork) {
    for (std::size_t task = 0; task < num_tasks; ++task) run(task, 0);
  } else {
    context.threads->parallel_for(num_tasks, run);
  }
}

}  // namespace foresight::ops
