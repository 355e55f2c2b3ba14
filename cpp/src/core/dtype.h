// Storage types of weights and caches, and exact conversions to and from float32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace foresight {

enum class DType : std::uint8_t { f32, bf16, f16 };

// Bytes of one element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
  }
  return "?";
}

// From "float32" | "bfloat16" | "float16"; throws ValueError on anything else.
DType dtype_from_name(std::string_view name);

// Raw 16-bit storage; arithmetic always happens in float32.
using Bits16 = std::uint16_t;

inline float bf16_to_float(Bits16 bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest, ties to even; NaN stays NaN (quiet).
inline Bits16 float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<Bits16>((bits >> 16) | 0x40u);
  return static_cast<Bits16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE binary16, subnormals and infinities included.
float f16_to_float(Bits16 bits);
// Round to nearest, ties to even; overflow gives infinity, NaN stays NaN.
Bits16 float_to_f16(float value);

}  // namespace foresight
