#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/tolerances.h"
#include "ops/embedding.h"
#include "ops/kv_pages.h"
#include "ops/matmul.h"
#include "ops/parity/cases.h"

namespace foresight::ops::parity {
namespace {

constexpr float kSpecial[] = {0.0f,
                              -0.0f,
                              1e-40f,
                              -3e-6f,
                              6.1e-5f,
                              65504.0f,
                              65519.9f,
                              65520.0f,
                              -1e30f,
                              1.0009766f,
                              1.00390625f,
                              std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()};

// Random values with everything that rounds in a special way among them.
std::vector<float> awkward_values(std::uint64_t seed, std::int64_t count) {
  std::vector<float> values = random_values(seed, count, 4.0f);
  for (std::size_t i = 0; i < values.size(); i += 3)
    values[i] = kSpecial[i / 3 % std::size(kSpecial)];
  return values;
}

// 0 when both are the same number, or both NaN.
double exact_error(float got, float wanted) {
  const bool same = got == wanted || (std::isnan(got) && std::isnan(wanted));
  return same ? 0.0 : std::numeric_limits<double>::infinity();
}

double embedding_error(const CpuContext& context, DType dtype, std::int64_t rows,
                       std::int64_t hidden) {
  const std::int64_t vocab = 77;
  const std::vector<float> table = awkward_values(1, vocab * hidden);
  const TensorView view{.data = table.data(), .dtype = DType::f32, .shape = {vocab, hidden}};
  const PackedMatrix packed = PackedMatrix::pack(context, {&view, 1}, dtype);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::int32_t>(i * 31 % vocab);
  std::vector<float> out(static_cast<std::size_t>(rows * hidden));
  embedding(context, {.tokens = tokens.data(),
                      .num_rows = rows,
                      .table = &packed,
                      .scale = 2.0f,
                      .out = out.data(),
                      .out_stride = hidden});
  double worst = 0.0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto row = i / static_cast<std::size_t>(hidden);
    const std::size_t at =
        static_cast<std::size_t>(tokens[row]) * static_cast<std::size_t>(hidden) +
        i % static_cast<std::size_t>(hidden);
    worst = std::max(worst, exact_error(out[i], 2.0f * stored(table[at], dtype)));
  }
  return worst;
}

double rows_to_bf16_error(const CpuContext& context, std::int64_t rows, std::int64_t inputs) {
  const std::vector<float> a = awkward_values(1, rows * inputs);
  const std::int64_t padded = (inputs + 1) / 2 * 2;
  std::vector<Bits16> out(static_cast<std::size_t>(rows * padded), Bits16{0x1234});
  context.kernel<RowsToBf16Kernel>()(a.data(), inputs, rows, inputs, out.data(), padded);
  double worst = 0.0;
  for (std::int64_t i = 0; i < rows * padded; ++i) {
    const std::int64_t k = i % padded;
    const float wanted =
        k < inputs ? stored(a[static_cast<std::size_t>(i / padded * inputs + k)], DType::bf16)
                   : 0.0f;
    worst = std::max(worst, exact_error(bf16_to_float(out[static_cast<std::size_t>(i)]), wanted));
  }
  return worst;
}

float load_element(const void* data, DType dtype, std::size_t index) {
  if (dtype == DType::f32) return static_cast<const float*>(data)[index];
  const Bits16 bits = static_cast<const Bits16*>(data)[index];
  return dtype == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

// Rows written to scattered slots, read back by the layout's definition.
double kv_write_error(const CpuContext& context, DType dtype, std::int64_t rows,
                      std::int64_t head_dim) {
  const std::int64_t heads = 3;
  const std::int64_t num_pages = rows / kPageSlots + 2;
  KvPages pages{.dtype = dtype, .num_kv_heads = heads, .head_dim = head_dim};
  Buffer keys(static_cast<std::size_t>(num_pages * pages.page_elements()) * size_of(dtype));
  Buffer values(keys.size());
  pages.keys = keys.data();
  pages.values = values.data();
  const std::int64_t stride = heads * head_dim + 4;
  const std::vector<float> k = awkward_values(1, rows * stride);
  const std::vector<float> v = awkward_values(2, rows * stride);
  std::vector<KvSlot> slots;
  for (std::int64_t m = 0; m < rows; ++m) {
    const std::int64_t slot =
        m * 7 % (num_pages * kPageSlots);  // 7 and the number of slots: mostly coprime
    slots.push_back({static_cast<std::int32_t>(slot / kPageSlots),
                     static_cast<std::int32_t>(slot % kPageSlots)});
  }
  kv_write(context, {.pages = pages,
                     .slots = slots.data(),
                     .num_rows = rows,
                     .k = k.data(),
                     .v = v.data(),
                     .stride = stride});
  double worst = 0.0;
  for (std::int64_t m = 0; m < rows; ++m) {
    const KvSlot slot = slots[static_cast<std::size_t>(m)];
    if (std::any_of(slots.begin() + m + 1, slots.end(), [&](const KvSlot& other) {
          return other.page == slot.page && other.slot == slot.slot;
        })) {
      continue;  // overwritten later
    }
    for (std::int64_t i = 0; i < heads * head_dim; ++i) {
      const std::int64_t d = i % head_dim;
      const std::int64_t base = (slot.page * heads + i / head_dim) * head_dim * kPageSlots;
      const std::int64_t key = dtype == DType::bf16 ? (d / 2 * kPageSlots + slot.slot) * 2 + d % 2
                                                    : d * kPageSlots + slot.slot;
      const auto from = static_cast<std::size_t>(m * stride + i);
      worst = std::max(
          worst, exact_error(load_element(pages.keys, dtype, static_cast<std::size_t>(base + key)),
                             stored(k[from], dtype)));
      worst = std::max(
          worst,
          exact_error(load_element(pages.values, dtype,
                                   static_cast<std::size_t>(base + slot.slot * head_dim + d)),
                      stored(v[from], dtype)));
    }
  }
  return worst;
}

}  // namespace

void add_storage_cases(std::vector<ParityCase>& cases) {
  for (const std::int64_t rows : {0, 1, 7, 63, 65}) {
    for (const std::int64_t inputs : {1, 7, 70, 128}) {
      cases.push_back({concat("rows_to_bf16/rows=", rows, "/inputs=", inputs),
                       RowsToBf16Kernel::kName, tolerances::kExact, [=](const CpuContext& context) {
                         return rows_to_bf16_error(context, rows, inputs);
                       }});
      for (const DType dtype : kAllDTypes) {
        cases.push_back({concat("embedding/", name_of(dtype), "/rows=", rows, "/hidden=", inputs),
                         EmbeddingKernel::kName, tolerances::kExact,
                         [=](const CpuContext& context) {
                           return embedding_error(context, dtype, rows, inputs);
                         }});
      }
    }
    for (const std::int64_t head_dim : {2, 34, 80, 128}) {
      for (const DType dtype : kAllDTypes) {
        cases.push_back(
            {concat("kv_write/", name_of(dtype), "/rows=", rows, "/head_dim=", head_dim),
             KvWriteKernel::kName, tolerances::kExact, [=](const CpuContext& context) {
               return kv_write_error(context, dtype, rows, head_dim);
             }});
      }
    }
  }
}

}  // namespace foresight::ops::parity
