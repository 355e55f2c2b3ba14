// Vec of 4 floats in the compilers' vector extension: SSE2, NEON or whatever the target has.
// fma is a product and a sum, each rounded: the C library's fmaf is slow without hardware for it.
#pragma once

#include <cstdint>
#include <cstring>

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

typedef float Vec __attribute__((vector_size(16)));
typedef std::uint32_t Bits __attribute__((vector_size(16)));
constexpr int kWidth = 4;
constexpr int kVectorRegisters = 16;

FORESIGHT_INLINE Vec zero() { return Vec{}; }
FORESIGHT_INLINE Vec set1(float value) { return Vec{value, value, value, value}; }
FORESIGHT_INLINE Bits set1_bits(std::uint32_t value) { return Bits{value, value, value, value}; }
FORESIGHT_INLINE Bits bits_of(Vec v) { return reinterpret_cast<Bits>(v); }
FORESIGHT_INLINE Vec vec_of(Bits bits) { return reinterpret_cast<Vec>(bits); }
// mask lanes are all ones or zero.
FORESIGHT_INLINE Bits choose(Bits mask, Bits yes, Bits no) { return (mask & yes) | (~mask & no); }

FORESIGHT_INLINE Vec add(Vec a, Vec b) { return a + b; }
FORESIGHT_INLINE Vec sub(Vec a, Vec b) { return a - b; }
FORESIGHT_INLINE Vec mul(Vec a, Vec b) { return a * b; }
FORESIGHT_INLINE Vec div(Vec a, Vec b) { return a / b; }
FORESIGHT_INLINE Vec sqrt(Vec a) {
  return Vec{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]),
             __builtin_sqrtf(a[3])};
}
FORESIGHT_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
FORESIGHT_INLINE Vec max(Vec a, Vec b) {
  return vec_of(choose(reinterpret_cast<Bits>(a > b), bits_of(a), bits_of(b)));
}
FORESIGHT_INLINE Vec min(Vec a, Vec b) {
  return vec_of(choose(reinterpret_cast<Bits>(a < b), bits_of(a), bits_of(b)));
}
FORESIGHT_INLINE std::uint32_t equal_mask(Vec a, Vec b) {
  const Bits equal = reinterpret_cast<Bits>(a == b);
  return (equal[0] & 1u) | (equal[1] & 2u) | (equal[2] & 4u) | (equal[3] & 8u);
}
FORESIGHT_INLINE Vec shift_left_23(Vec a) { return vec_of(bits_of(a) << 23); }

FORESIGHT_INLINE Bits load_bits_n(const std::uint16_t* p, std::int64_t n) {
  Bits bits = {};
  for (std::int64_t i = 0; i < n; ++i) bits[i] = p[i];
  return bits;
}
FORESIGHT_INLINE void store_bits_n(std::uint16_t* p, Bits bits, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = static_cast<std::uint16_t>(bits[i]);
}

FORESIGHT_INLINE Vec widen_bf16(Bits bits) { return vec_of(bits << 16); }
// Round to nearest, ties to even, NaN quiet: as float_to_bf16.
FORESIGHT_INLINE Bits narrow_bf16(Vec v) {
  const Bits bits = bits_of(v);
  const Bits rounded = bits + set1_bits(0x7fff) + ((bits >> 16) & set1_bits(1));
  const Bits is_nan = reinterpret_cast<Bits>(v != v);
  return choose(is_nan, bits | set1_bits(0x400000), rounded) >> 16;
}

// binary16 in the low half of each lane: shift the fields into place and multiply by 2^112, which
// normalises subnormals too; exponent 31 (infinity, NaN) becomes 255. NaN is made quiet, as
// hardware does.
FORESIGHT_INLINE Vec widen_f16(Bits bits) {
  const Bits magnitude = bits & set1_bits(0x7fff);
  const Vec value = vec_of(magnitude << 13) * set1(0x1p112f);
  const Bits special = reinterpret_cast<Bits>(magnitude >= set1_bits(0x7c00));
  const Bits nan = reinterpret_cast<Bits>(magnitude > set1_bits(0x7c00)) & set1_bits(0x400000);
  const Bits result = bits_of(value) | (special & set1_bits(0x7f800000)) | nan;
  return vec_of(result | ((bits & set1_bits(0x8000)) << 16));
}
// Round to nearest, ties to even: as float_to_f16.
FORESIGHT_INLINE Bits narrow_f16(Vec v) {
  const Bits bits = bits_of(v);
  const Bits magnitude = bits & set1_bits(0x7fffffff);
  // Normal results: rebias the exponent and round away 13 bits; 65520 and more become infinity.
  const Bits normal =
      (magnitude - set1_bits(112u << 23) + set1_bits(0xfff) + ((magnitude >> 13) & set1_bits(1))) >>
      13;
  // Subnormal results: adding 0.5 makes the unit in the last place 2^-24, so the hardware rounds.
  const Bits subnormal = bits_of(vec_of(magnitude) + set1(0.5f)) - set1_bits(0x3f000000);
  Bits result =
      choose(reinterpret_cast<Bits>(magnitude < set1_bits(113u << 23)), subnormal, normal);
  result =
      choose(reinterpret_cast<Bits>(magnitude >= set1_bits(0x477ff000)), set1_bits(0x7c00), result);
  const Bits nan = set1_bits(0x7e00) | ((magnitude >> 13) & set1_bits(0x1ff));
  result = choose(reinterpret_cast<Bits>(magnitude > set1_bits(0x7f800000)), nan, result);
  return result | ((bits >> 16) & set1_bits(0x8000));
}

FORESIGHT_INLINE Vec load(F32, const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
FORESIGHT_INLINE Vec load(Bf16, const std::uint16_t* p) {
  return widen_bf16(Bits{p[0], p[1], p[2], p[3]});
}
FORESIGHT_INLINE Vec load(F16, const std::uint16_t* p) {
  return widen_f16(Bits{p[0], p[1], p[2], p[3]});
}
FORESIGHT_INLINE Vec load_n(F32, const float* p, std::int64_t n) {
  Vec v = {};
  for (std::int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
FORESIGHT_INLINE Vec load_n(Bf16, const std::uint16_t* p, std::int64_t n) {
  return widen_bf16(load_bits_n(p, n));
}
FORESIGHT_INLINE Vec load_n(F16, const std::uint16_t* p, std::int64_t n) {
  return widen_f16(load_bits_n(p, n));
}
FORESIGHT_INLINE void load_pairs(const std::uint16_t* p, Vec& first, Vec& second) {
  Bits both;  // memory order: the first of a pair is the low half on little-endian targets
  std::memcpy(&both, p, sizeof both);
  first = vec_of(both << 16);
  second = vec_of(both & set1_bits(0xffff0000));
}

FORESIGHT_INLINE void store(F32, float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
FORESIGHT_INLINE void store(Bf16, std::uint16_t* p, Vec v) {
  store_bits_n(p, narrow_bf16(v), kWidth);
}
FORESIGHT_INLINE void store(F16, std::uint16_t* p, Vec v) {
  store_bits_n(p, narrow_f16(v), kWidth);
}
FORESIGHT_INLINE void store_n(F32, float* p, Vec v, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = v[i];
}
FORESIGHT_INLINE void store_n(Bf16, std::uint16_t* p, Vec v, std::int64_t n) {
  store_bits_n(p, narrow_bf16(v), n);
}
FORESIGHT_INLINE void store_n(F16, std::uint16_t* p, Vec v, std::int64_t n) {
  store_bits_n(p, narrow_f16(v), n);
}

FORESIGHT_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS
