// The packed matrix product. A block of rows times a few vectors of columns is held in registers
// while k runs from 0 to K; which block computes an element never changes the element's chain.
#include "ops/matmul.h"

#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

constexpr int kPanelVecs = static_cast<int>(kPanelColumns) / kWidth;
constexpr int kWideRegisters = kVectorRegisters >= 32 ? 1 : 0;
constexpr int kMaxBlockRows = kWideRegisters ? 12 : 6;
// Rows of A that stay in the second-level cache while panels go by.
constexpr std::int64_t kResidentBytes = 768 * 1024;
// How far ahead of the loads each of several panels in flight is prefetched.
constexpr std::int64_t kPrefetchBytes = 2048;

// One input of each row times vectors of its weights.
template <int kVecs, int kRows>
FORESIGHT_INLINE void add_products(const Vec (&w)[kVecs], const float* a, std::int64_t lda,
                                   Vec (&sums)[kVecs][kRows]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Vec x = set1(a[r * lda]);
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) sums[v][r] = fma(x, w[v], sums[v][r]);
  }
}

// How a kind of weights is multiplied. kInputs consecutive k make one step, which reads
// kInputs * 32 elements of a panel and kInputs elements of a row. Each element of a row is
// broadcast once and used for all vectors at once, so that few registers are needed beside the
// sums.
template <typename Storage>
struct WidenSteps {
  using Element = typename Storage::Element;
  using Input = float;
  static constexpr int kInputs = 1;

  template <int kVecs, int kRows>
  FORESIGHT_INLINE static void step(const Element* weights, const Input* a, std::int64_t lda,
                                    Vec (&sums)[kVecs][kRows]) {
    Vec w[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) w[v] = load(Storage{}, weights + v * kWidth);
    add_products(w, a, lda, sums);
  }
};

#if FORESIGHT_ISA_LEVEL < 3
struct PairSteps {
  using Element = std::uint16_t;
  using Input = float;
  static constexpr int kInputs = 2;

  template <int kVecs, int kRows>
  FORESIGHT_INLINE static void step(const Element* weights, const Input* a, std::int64_t lda,
                                    Vec (&sums)[kVecs][kRows]) {
    Vec first[kVecs], second[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) load_pairs(weights + v * kWidth * 2, first[v], second[v]);
    add_products(first, a, lda, sums);
    add_products(second, a + 1, lda, sums);
  }
  // The last input of an odd K.
  template <int kVecs, int kRows>
  FORESIGHT_INLINE static void last_half(const Element* weights, const Input* a, std::int64_t lda,
                                         Vec (&sums)[kVecs][kRows]) {
    Vec first[kVecs], second[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) load_pairs(weights + v * kWidth * 2, first[v], second[v]);
    add_products(first, a, lda, sums);
  }
};

#else
// Products of bf16 pairs, summed in float32 by the processor. Rows are rounded and padded with
// zeros.
struct DotSteps {
  using Element = std::uint16_t;
  using Input = std::uint16_t;
  static constexpr int kInputs = 2;

  template <int kVecs, int kRows>
  FORESIGHT_INLINE static void step(const Element* weights, const Input* a, std::int64_t lda,
                                    Vec (&sums)[kVecs][kRows]) {
    __m512bh w[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      w[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weights + v * kWidth * 2));
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      int pair;
      __builtin_memcpy(&pair, a + r * lda, sizeof pair);
      const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) sums[v][r] = _mm512_dpbf16_ps(sums[v][r], x, w[v]);
    }
  }
};
#endif

template <typename Steps>
struct Job {
  const typename Steps::Input* a;
  std::int64_t lda;
  const typename Steps::Element* weights;  // of the first panel
  std::int64_t panel_elements;
  const MatmulPanels& args;
};

// What a block prefetches while it runs: at each step the line at `at`, and the one at `at +
// second` when it prefetches two streams; then `at` moves on by `bytes_per_step`.
struct Prefetch {
  const char* at;
  std::int64_t second;
  std::int64_t bytes_per_step;
};

// sums, then the bias, then the old C; n columns are valid.
template <int kRows>
FORESIGHT_INLINE void finish(const MatmulPanels& args, std::int64_t row, std::int64_t column,
                             const Vec (&sums)[kRows]) {
  const std::int64_t n = args.num_outputs - column < kWidth ? args.num_outputs - column : kWidth;
  if (n <= 0) return;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* c = args.c + (row + r) * args.ldc + column;
    Vec result = sums[r];
    if (args.bias != nullptr) result = add(result, load_n(F32{}, args.bias + column, n));
    if (args.accumulate) result = add(result, load_n(F32{}, c, n));
    store_n(F32{}, c, result, n);
  }
}

// Rows [row, row + kRows) times kVecs vectors of columns of each of kPanels panels.
template <typename Steps, int kRows, int kPanels, int kVecs, bool kTwoStreams>
void multiply_block(const Job<Steps>& job, std::int64_t row, std::int64_t panel, int first_vec,
                    Prefetch ahead) {
  constexpr std::int64_t kStepElements = kPanelColumns * Steps::kInputs;
  const typename Steps::Input* a = job.a + row * job.lda;
  const std::int64_t lda = job.lda;
  const std::int64_t panel_elements = job.panel_elements;
  const typename Steps::Element* weights =
      job.weights + panel * panel_elements + first_vec * kWidth * Steps::kInputs;
  Vec sums[kPanels][kVecs][kRows];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[p][v][r] = zero();
    }
  }
  const std::int64_t num_inputs = job.args.num_inputs;
  constexpr bool kPadded = sizeof(typename Steps::Input) == 2;
  const std::int64_t num_steps = (num_inputs + (kPadded ? Steps::kInputs - 1 : 0)) / Steps::kInputs;
  for (std::int64_t s = 0; s < num_steps; ++s) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      const std::int64_t panel_bytes = panel_elements * static_cast<std::int64_t>(sizeof(*weights));
      prefetch(ahead.at + p * panel_bytes);
      if constexpr (kTwoStreams) prefetch(ahead.at + p * panel_bytes + ahead.second);
      Steps::step(weights + p * panel_elements, a, lda, sums[p]);
    }
    ahead.at += ahead.bytes_per_step;
    weights += kStepElements;
    a += Steps::kInputs;
  }
  if constexpr (Steps::kInputs == 2 && !kPadded) {
    if (num_inputs % 2 != 0) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        Steps::last_half(weights + p * panel_elements, a, lda, sums[p]);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      finish<kRows>(job.args, row, (panel + p) * kPanelColumns + (first_vec + v) * kWidth,
                    sums[p][v]);
    }
  }
}

// The registers hold kRows * kPanels * kVecs sums: several panels (independent chains, so that the
// latency of one chain does not bound) for few rows, a part of a panel for many.
constexpr int panels_in_flight(int rows) {
  if (!kWideRegisters) return 1;
  return rows <= 2 ? 4 : rows <= 4 ? 2 : 1;
}
constexpr int vecs_in_flight(int rows) {
  const int budget = kWideRegisters ? 24 : 12;
  int vecs = kPanelVecs;
  while (vecs > 1 && vecs * rows > budget) vecs /= 2;
  return vecs;
}

// Several panels in flight are as many streams, and prefetch themselves. Otherwise the `split` row
// blocks that pass over a panel, each in kParts parts, prefetch a share of the next panel in every
// pass. One or two passes wait for memory, and two streams of lines hide more of its latency than
// one; more passes wait for arithmetic.
template <typename Steps, int kRows>
void multiply_rows(const Job<Steps>& job, std::int64_t row, std::int64_t panel,
                   std::int64_t num_panels, std::int64_t part, std::int64_t split) {
  constexpr int kPanels = panels_in_flight(kRows);
  constexpr int kVecs = vecs_in_flight(kRows);
  constexpr std::int64_t kStepBytes =
      kPanelColumns * Steps::kInputs * sizeof(typename Steps::Element);
  const std::int64_t panel_bytes =
      job.panel_elements * static_cast<std::int64_t>(sizeof(*job.weights));
  std::int64_t p = 0;
  if constexpr (kPanels > 1) {
    for (; p + kPanels <= num_panels; p += kPanels) {
      const char* own =
          reinterpret_cast<const char*>(job.weights + (panel + p) * job.panel_elements);
      multiply_block<Steps, kRows, kPanels, kVecs, true>(job, row, panel + p, 0,
                                                         {own + kPrefetchBytes, 64, kStepBytes});
    }
  }
  for (; p < num_panels; ++p) {
    const char* own = reinterpret_cast<const char*>(job.weights + (panel + p) * job.panel_elements);
    constexpr int kParts = kPanelVecs / kVecs;
    const std::int64_t passes = split * kParts;
    const std::int64_t share = panel_bytes / passes;
    for (int v = 0; v < kParts; ++v) {
      const char* next = own + panel_bytes + (part * kParts + v) * share;
      if (passes <= 2) {
        multiply_block<Steps, kRows, 1, kVecs, true>(job, row, panel + p, v * kVecs,
                                                     {next, share / 2, kStepBytes / passes / 2});
      } else {
        multiply_block<Steps, kRows, 1, kVecs, false>(job, row, panel + p, v * kVecs,
                                                      {next, 0, kStepBytes / passes});
      }
    }
  }
}

template <typename Steps, int kRows = kMaxBlockRows>
void dispatch_rows(std::int64_t rows, const Job<Steps>& job, std::int64_t row, std::int64_t panel,
                   std::int64_t num_panels, std::int64_t part, std::int64_t split) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      multiply_rows<Steps, kRows>(job, row, panel, num_panels, part, split);
    } else {
      dispatch_rows<Steps, kRows - 1>(rows, job, row, panel, num_panels, part, split);
    }
  }
}

template <typename Steps>
void multiply(const Job<Steps>& job) {
  const std::int64_t num_panels = (job.args.num_outputs + kPanelColumns - 1) / kPanelColumns;
  const std::int64_t row_bytes =
      job.args.num_inputs * static_cast<std::int64_t>(sizeof(typename Steps::Input));
  const std::int64_t fitting = kResidentBytes / (row_bytes > 0 ? row_bytes : 1);
  const std::int64_t resident = fitting < 8 * kMaxBlockRows ? 8 * kMaxBlockRows : fitting;
  for (std::int64_t row = 0; row < job.args.num_rows; row += resident) {
    const std::int64_t rows =
        job.args.num_rows - row < resident ? job.args.num_rows - row : resident;
    // Blocks of nearly equal height: a block of one row would pass over the panel alone.
    const std::int64_t split = (rows + kMaxBlockRows - 1) / kMaxBlockRows;
    if (split == 1) {
      dispatch_rows<Steps>(rows, job, row, 0, num_panels, 0, 1);
      continue;
    }
    for (std::int64_t panel = 0; panel < num_panels; ++panel) {
      for (std::int64_t part = 0; part < split; ++part) {
        const std::int64_t begin = rows * part / split;
        const std::int64_t end = rows * (part + 1) / split;
        dispatch_rows<Steps>(end - begin, job, row + begin, panel, 1, part, split);
      }
    }
  }
}

void matmul(const MatmulPanels& args) {
  const std::int64_t k = args.num_inputs;
  const std::int64_t padded = args.dtype == DType::bf16 ? (k + 1) / 2 * 2 : k;
  const std::int64_t panel_elements = padded * kPanelColumns;
  switch (args.dtype) {
    case DType::f32:
      multiply(Job<WidenSteps<F32>>{args.a, args.lda, static_cast<const float*>(args.panels),
                                    panel_elements, args});
      break;
    case DType::f16:
      multiply(Job<WidenSteps<F16>>{
          args.a, args.lda, static_cast<const std::uint16_t*>(args.panels), panel_elements, args});
      break;
    case DType::bf16:
#if FORESIGHT_ISA_LEVEL >= 3
      multiply(Job<DotSteps>{args.a_bf16, padded, static_cast<const std::uint16_t*>(args.panels),
                             panel_elements, args});
#else
      multiply(Job<PairSteps>{args.a, args.lda, static_cast<const std::uint16_t*>(args.panels),
                              panel_elements, args});
#endif
      break;
  }
}

void rows_to_bf16(const float* a, std::int64_t lda, std::int64_t num_rows, std::int64_t num_inputs,
                  Bits16* out, std::int64_t padded_inputs) {
  for (std::int64_t m = 0; m < num_rows; ++m) {
    const float* from = a + m * lda;
    Bits16* to = out + m * padded_inputs;
    std::int64_t k = 0;
    for (; k + kWidth <= num_inputs; k += kWidth) store(Bf16{}, to + k, load(F32{}, from + k));
    if (k < num_inputs)
      store_n(Bf16{}, to + k, load_n(F32{}, from + k, num_inputs - k), num_inputs - k);
    for (k = num_inputs; k < padded_inputs; ++k) to[k] = 0;
  }
}

}  // namespace

void register_matmul(KernelRegistry& registry) {
  registry.add<MatmulKernel>(Isa(FORESIGHT_ISA_LEVEL), &matmul);
  registry.add<RowsToBf16Kernel>(Isa(FORESIGHT_ISA_LEVEL), &rows_to_bf16);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
