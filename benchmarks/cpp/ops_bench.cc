// Speed of the ops beside a plain stream read of the same memory, as JSON lines.
//
//   ops_bench [matmul|attention|all] [dtype] [seconds per figure]
//
// Shapes are those of a 0.6B Qwen3 (hidden 1024, 16 query and 8 K/V heads of 128). All weights are
// one matrix of 1.2 GB, and all layers' K/V are walked in turn, so that no cache holds what is
// read. FORESIGHT_ISA and FORESIGHT_NUM_THREADS choose the variant and the threads. Figures of one
// run may be compared as ratios; across runs only beside the stream read.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/cpu_kernels.h"
#include "ops/matmul.h"

namespace foresight::ops {
namespace {

constexpr std::int64_t kHidden = 1024;
constexpr std::int64_t kLayers = 28;
constexpr std::int64_t kWeightBytes = std::int64_t{1200} << 20;

// The least time of repeated calls, in seconds: what the machine can do when left alone.
template <typename Run>
double best_seconds(double budget, const Run& run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  const auto start = Clock::now();
  do {
    const auto begin = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  } while (std::chrono::duration<double>(Clock::now() - start).count() < budget);
  return best;
}

// Sums all words of a buffer on all threads.
double stream_seconds(const CpuContext& context, const void* data, std::size_t bytes,
                      double budget) {
  constexpr std::size_t kBlockWords = std::size_t{1} << 17;
  const auto* words = static_cast<const std::uint64_t*>(data);
  const std::size_t blocks = bytes / sizeof(std::uint64_t) / kBlockWords;
  std::vector<std::uint64_t> sums(blocks);
  const double seconds = best_seconds(budget, [&] {
    context.threads->parallel_for(blocks, [&](std::size_t block, int) {
      const std::uint64_t* begin = words + block * kBlockWords;
      sums[block] = std::accumulate(begin, begin + kBlockWords, std::uint64_t{0});
    });
  });
  volatile std::uint64_t sink = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
  (void)sink;
  return seconds;
}

void bench_matmul(const CpuContext& context, DType dtype, double budget) {
  const std::int64_t outputs = kWeightBytes / static_cast<std::int64_t>(size_of(dtype)) / kHidden;
  std::vector<float> values(static_cast<std::size_t>(kHidden * 512), 0.25f);
  // The part is stacked again and again, so that filling the matrix does not need it in float32.
  const TensorView part{.data = values.data(), .dtype = DType::f32, .shape = {512, kHidden}};
  const std::vector<TensorView> parts(static_cast<std::size_t>(outputs / 512), part);
  const PackedMatrix weight = PackedMatrix::pack(context, parts, dtype);
  const auto bytes = static_cast<double>(weight.num_bytes());
  MatmulScratch scratch;
  std::vector<float> c(static_cast<std::size_t>(weight.num_outputs()) * 64);
  for (int round = 0; round < 2; ++round) {
    const double stream = stream_seconds(context, weight.panel(0), weight.num_bytes(), budget);
    std::printf("{\"op\": \"stream\", \"gb_per_s\": %.1f}\n", bytes / stream * 1e-9);
    double one_row = 0.0;
    for (const std::int64_t rows : {1, 2, 4, 8, 12, 16, 32, 64, 512}) {
      // Above 64 rows C would not fit: a part of the matrix serves, at the same arithmetic per
      // byte.
      const std::int64_t share = rows <= 64 ? 1 : rows / 64;
      const double seconds = best_seconds(budget, [&] {
        const std::int64_t ldc = weight.num_outputs();
        if (share == 1) {
          matmul(context,
                 {.a = values.data(),
                  .lda = kHidden,
                  .num_rows = rows,
                  .weight = &weight,
                  .c = c.data(),
                  .ldc = ldc},
                 scratch);
          return;
        }
        static const PackedMatrix small =
            PackedMatrix::pack(context, std::span(parts).first(parts.size() / 8), dtype);
        matmul(context,
               {.a = values.data(),
                .lda = kHidden,
                .num_rows = rows,
                .weight = &small,
                .c = c.data(),
                .ldc = small.num_outputs()},
               scratch);
      });
      if (rows == 1) one_row = seconds;
      const double flops = 2.0 * static_cast<double>(rows) * bytes /
                           static_cast<double>(size_of(dtype)) / (share == 1 ? 1.0 : 8.0);
      std::printf(
          "{\"op\": \"matmul\", \"isa\": \"%s\", \"dtype\": \"%s\", \"rows\": %ld, \"ms\": %.1f, "
          "\"times_one_row\": %.2f, "
          "\"times_stream\": %.2f, \"gflop_per_s\": %.0f}\n",
          std::string(name_of(context.isa)).c_str(), std::string(name_of(dtype)).c_str(),
          static_cast<long>(rows), seconds * 1e3, seconds / one_row, seconds / stream,
          flops / seconds * 1e-9);
      std::fflush(stdout);
    }
  }
}

// One forward's attention over all layers, the rows of each sequence after `cached` slots.
void bench_attention(const CpuContext& context, DType dtype, std::int64_t sequences,
                     std::int64_t cached, std::int64_t rows, bool shared, double budget) {
  constexpr std::int64_t kHeads = 16, kKvHeads = 8, kHeadDim = 128;
  KvPages pages{.dtype = dtype, .num_kv_heads = kKvHeads, .head_dim = kHeadDim};
  const std::int64_t per_sequence = (cached + rows + kPageSlots - 1) / kPageSlots;
  const std::int64_t num_pages =
      shared ? cached / kPageSlots + sequences * 2 : sequences * per_sequence;
  std::vector<Buffer> keys, values;
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    for (auto* list : {&keys, &values}) {
      list->emplace_back(static_cast<std::size_t>(num_pages * pages.page_elements()) *
                         size_of(dtype));
      list->back().prefer_huge_pages();
      std::fill_n(list->back().as<std::byte>(), list->back().size(), std::byte{0x20});
    }
  }
  std::vector<std::vector<std::int32_t>> tables(static_cast<std::size_t>(sequences));
  std::vector<AttentionSegment> segments;
  std::vector<std::int32_t> positions(static_cast<std::size_t>(rows)), order(positions.size());
  std::iota(order.begin(), order.end(), 0);
  std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(cached));
  std::int32_t next_page = 0;
  for (std::int64_t s = 0; s < sequences; ++s) {
    auto& table = tables[static_cast<std::size_t>(s)];
    for (std::int64_t page = 0; page < per_sequence; ++page) {
      const bool reuse = shared && s > 0 && page < cached / kPageSlots;
      table.push_back(reuse ? tables[0][static_cast<std::size_t>(page)] : next_page++);
    }
    segments.push_back({.pages = table.data(),
                        .num_cached = cached,
                        .num_rows = rows,
                        .first_row = s * rows,
                        .positions = positions.data(),
                        .ranks = order.data(),
                        .limits = order.data(),
                        .hidden_slots = {}});
  }
  const std::int64_t stride = kHeads * kHeadDim;
  std::vector<float> q(static_cast<std::size_t>(sequences * rows * stride), 0.01f), out(q.size());
  AttentionScratch scratch;
  const double seconds = best_seconds(budget, [&] {
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      pages.keys = keys[static_cast<std::size_t>(layer)].data();
      pages.values = values[static_cast<std::size_t>(layer)].data();
      attention(context,
                {.q = q.data(),
                 .q_stride = stride,
                 .num_heads = kHeads,
                 .pages = pages,
                 .scale = 0.088f,
                 .segments = segments,
                 .out = out.data(),
                 .out_stride = stride},
                scratch);
    }
  });
  const double bytes = 2.0 * kLayers * static_cast<double>(num_pages * pages.page_elements()) *
                       static_cast<double>(size_of(dtype));
  const double pairs = static_cast<double>(sequences * rows) *
                       (static_cast<double>(cached) + 0.5 * static_cast<double>(rows + 1));
  std::printf(
      "{\"op\": \"attention\", \"isa\": \"%s\", \"dtype\": \"%s\", \"sequences\": %ld, "
      "\"shared_prefix\": %s, \"cached\": %ld, "
      "\"rows\": %ld, \"ms\": %.2f, \"gb_per_s\": %.1f, \"gflop_per_s\": %.0f}\n",
      std::string(name_of(context.isa)).c_str(), std::string(name_of(dtype)).c_str(),
      static_cast<long>(sequences), shared ? "true" : "false", static_cast<long>(cached),
      static_cast<long>(rows), seconds * 1e3, bytes / seconds * 1e-9,
      pairs * kLayers * kHeads * kHeadDim * 4.0 / seconds * 1e-9);
  std::fflush(stdout);
}

}  // namespace
}  // namespace foresight::ops

int main(int argc, char** argv) {
  using namespace foresight;
  const std::string what = argc > 1 ? argv[1] : "all";
  const DType dtype = dtype_from_name(argc > 2 ? argv[2] : "bfloat16");
  const double budget = argc > 3 ? std::atof(argv[3]) : 1.0;
  KernelRegistry registry;
  ops::register_cpu_kernels(registry);
  ThreadPool threads;
  const CpuContext context{.kernels = &registry, .threads = &threads, .isa = default_isa()};
  if (what != "attention") ops::bench_matmul(context, dtype, budget);
  if (what != "matmul") {
    for (const std::int64_t cached : {512, 8192})
      ops::bench_attention(context, dtype, 1, cached, 1, false, budget);
    ops::bench_attention(context, dtype, 1, 0, 512, false, budget);
    ops::bench_attention(context, dtype, 1, 512, 32, false, budget);
    ops::bench_attention(context, dtype, 64, 512, 1, false, budget);
    ops::bench_attention(context, dtype, 64, 512, 1, true, budget);
  }
  return 0;
}
