#include "core/dtype.h"

#include "core/error.h"

namespace foresight {

DType dtype_from_name(std::string_view name) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw ValueError(
      concat("dtype \"", name, "\" is unknown: expected \"float32\", \"bfloat16\" or \"float16\""));
}

float f16_to_float(Bits16 bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    // Zero or subnormal: mantissa * 2^-24, exact in float32.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

Bits16 float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<Bits16>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  }
  // 65520 is half way between the largest finite value, 65504, and the next power of two.
  if (magnitude >= std::bit_cast<std::uint32_t>(65520.0f)) {
    return static_cast<Bits16>(sign | 0x7c00u);
  }
  if (magnitude < std::bit_cast<std::uint32_t>(0x1p-14f)) {
    // The result is subnormal: its unit is 2^-24, the unit of floats in [0.5, 1). Adding 0.5 lets
    // the addition do the rounding. (In the default rounding mode, that is.)
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<Bits16>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<Bits16>(sign | ((rounded >> 13) - (112u << 10)));
}

}  // namespace foresight
