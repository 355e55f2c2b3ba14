#include "ops/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"

namespace foresight::ops {
namespace {

constexpr std::size_t kColumns = static_cast<std::size_t>(kPanelColumns);
// Inputs that are transposed at a time: a tile of 32 outputs stays in the first-level cache.
constexpr std::int64_t kTileInputs = 32;

std::int64_t padded_inputs(std::int64_t num_inputs, DType storage) {
  return storage == DType::bf16 ? (num_inputs + 1) / 2 * 2 : num_inputs;
}

// Place of W[n, k] inside its panel.
std::size_t element_in_panel(DType storage, std::int64_t column, std::int64_t k) {
  const std::int64_t index = storage == DType::bf16 ? (k / 2 * kPanelColumns + column) * 2 + k % 2
                                                    : k * kPanelColumns + column;
  return static_cast<std::size_t>(index);
}

float load_float(const std::byte* from, DType dtype) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  Bits16 bits;
  std::memcpy(&bits, from, sizeof bits);
  return dtype == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

// One output's inputs [0, count) in storage type; `from` need not be aligned.
void convert(const std::byte* from, DType from_dtype, DType storage, std::int64_t count,
             std::byte* to) {
  if (from_dtype == storage) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * size_of(storage));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const float value =
        load_float(from + static_cast<std::size_t>(i) * size_of(from_dtype), from_dtype);
    if (storage == DType::f32) {
      std::memcpy(to + i * 4, &value, 4);
    } else {
      const Bits16 bits = storage == DType::bf16 ? float_to_bf16(value) : float_to_f16(value);
      std::memcpy(to + i * 2, &bits, 2);
    }
  }
}

// Scatters `count` units of one column: unit i goes to tile[i * 32].
template <typename Unit>
void scatter(const std::byte* from, std::int64_t count, Unit* tile) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(tile + i * kPanelColumns, from + static_cast<std::size_t>(i) * sizeof(Unit),
                sizeof(Unit));
  }
}

// One row (output) of the stacked parts.
struct SourceRow {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
};

void pack_panel(std::span<const SourceRow> rows, std::int64_t num_inputs, DType storage,
                std::byte* panel) {
  alignas(64) std::array<std::byte, kTileInputs * sizeof(float)> unit_row;
  for (std::int64_t k = 0; k < num_inputs; k += kTileInputs) {
    const std::int64_t count = std::min(kTileInputs, num_inputs - k);
    for (std::size_t column = 0; column < rows.size(); ++column) {
      const SourceRow& row = rows[column];
      unit_row.fill(std::byte{0});
      convert(row.data + static_cast<std::size_t>(k) * size_of(row.dtype), row.dtype, storage,
              count, unit_row.data());
      const std::size_t first = element_in_panel(storage, static_cast<std::int64_t>(column), k);
      switch (storage) {
        case DType::f32:
          scatter(unit_row.data(), count, reinterpret_cast<float*>(panel) + first);
          break;
        case DType::f16:
          scatter(unit_row.data(), count, reinterpret_cast<Bits16*>(panel) + first);
          break;
        case DType::bf16:  // units are pairs
          scatter(unit_row.data(), (count + 1) / 2,
                  reinterpret_cast<std::uint32_t*>(panel) + first / 2);
          break;
      }
    }
  }
}

}  // namespace

std::int64_t PackedMatrix::panel_elements() const {
  return padded_inputs(num_inputs_, dtype_) * kPanelColumns;
}

const void* PackedMatrix::panel(std::int64_t index) const {
  const auto bytes = static_cast<std::size_t>(index * panel_elements()) * size_of(dtype_);
  return data_.as<std::byte>() + bytes;
}

PackedMatrix PackedMatrix::pack(const CpuContext& context, std::span<const TensorView> parts,
                                DType storage) {
  PackedMatrix packed;
  packed.dtype_ = storage;
  if (parts.empty()) throw ValueError("a packed matrix needs at least one part");
  for (const TensorView& part : parts) {
    if (part.shape.size() != 2) {
      throw ValueError(concat("a matrix must have 2 dimensions, not shape ", part.shape_string()));
    }
    if (part.shape[1] != parts[0].shape[1]) {
      throw ValueError(
          concat("matrices that are stacked must have the same number of inputs, not shapes ",
                 parts[0].shape_string(), " and ", part.shape_string()));
    }
    packed.num_outputs_ += part.shape[0];
  }
  packed.num_inputs_ = parts[0].shape[1];
  const std::int64_t num_panels = packed.num_panels();
  const std::int64_t panel_elements = packed.panel_elements();
  packed.data_ = Buffer(static_cast<std::size_t>(num_panels * panel_elements) * size_of(storage));
  packed.data_.prefer_huge_pages();

  std::vector<SourceRow> rows;
  rows.reserve(static_cast<std::size_t>(packed.num_outputs_));
  for (const TensorView& part : parts) {
    const std::size_t row_bytes =
        static_cast<std::size_t>(packed.num_inputs_) * size_of(part.dtype);
    for (std::int64_t n = 0; n < part.shape[0]; ++n) {
      rows.push_back(
          {static_cast<const std::byte*>(part.data) + static_cast<std::size_t>(n) * row_bytes,
           part.dtype});
    }
  }
  context.threads->parallel_for(static_cast<std::size_t>(num_panels), [&](std::size_t index, int) {
    const std::span<const SourceRow> all(rows);
    const std::size_t first = index * kColumns;
    std::byte* panel = packed.data_.as<std::byte>() +
                       index * static_cast<std::size_t>(panel_elements) * size_of(storage);
    pack_panel(all.subspan(first, std::min(kColumns, rows.size() - first)), packed.num_inputs_,
               storage, panel);
  });
  return packed;
}

float PackedMatrix::at(std::int64_t n, std::int64_t k) const {
  const auto* data = static_cast<const std::byte*>(panel(n / kPanelColumns));
  return load_float(data + element_in_panel(dtype_, n % kPanelColumns, k) * size_of(dtype_),
                    dtype_);
}

}  // namespace foresight::ops
