// Vec of 8 floats: AVX2, FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

using Vec = __m256;
constexpr int kWidth = 8;
constexpr int kVectorRegisters = 16;

FORESIGHT_INLINE Vec zero() { return _mm256_setzero_ps(); }
FORESIGHT_INLINE Vec set1(float value) { return _mm256_set1_ps(value); }

FORESIGHT_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
FORESIGHT_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
FORESIGHT_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
FORESIGHT_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
FORESIGHT_INLINE Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
FORESIGHT_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
FORESIGHT_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
FORESIGHT_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
FORESIGHT_INLINE std::uint32_t equal_mask(Vec a, Vec b) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
}
FORESIGHT_INLINE Vec shift_left_23(Vec a) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
}

FORESIGHT_INLINE __m256i first_lanes(std::int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

FORESIGHT_INLINE Vec widen_bf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
// Round to nearest, ties to even, NaN quiet: as float_to_bf16.
FORESIGHT_INLINE __m128i narrow_bf16(Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i result = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
  const __m256i packed = _mm256_packus_epi32(result, result);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0b1000));
}
FORESIGHT_INLINE __m128i load_bits_n(const std::uint16_t* p, std::int64_t n) {
  std::uint16_t lanes[8] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes));
}
FORESIGHT_INLINE void store_bits_n(std::uint16_t* p, __m128i bits, std::int64_t n) {
  std::uint16_t lanes[8];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes), bits);
  for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

FORESIGHT_INLINE Vec load(F32, const float* p) { return _mm256_loadu_ps(p); }
FORESIGHT_INLINE Vec load(Bf16, const std::uint16_t* p) {
  return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
FORESIGHT_INLINE Vec load(F16, const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
FORESIGHT_INLINE Vec load_n(F32, const float* p, std::int64_t n) {
  return _mm256_maskload_ps(p, first_lanes(n));
}
FORESIGHT_INLINE Vec load_n(Bf16, const std::uint16_t* p, std::int64_t n) {
  return widen_bf16(load_bits_n(p, n));
}
FORESIGHT_INLINE Vec load_n(F16, const std::uint16_t* p, std::int64_t n) {
  return _mm256_cvtph_ps(load_bits_n(p, n));
}
FORESIGHT_INLINE void load_pairs(const std::uint16_t* p, Vec& first, Vec& second) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  first = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  second =
      _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

FORESIGHT_INLINE void store(F32, float* p, Vec v) { _mm256_storeu_ps(p, v); }
FORESIGHT_INLINE void store(Bf16, std::uint16_t* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_bf16(v));
}
FORESIGHT_INLINE void store(F16, std::uint16_t* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
FORESIGHT_INLINE void store_n(F32, float* p, Vec v, std::int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), v);
}
FORESIGHT_INLINE void store_n(Bf16, std::uint16_t* p, Vec v, std::int64_t n) {
  store_bits_n(p, narrow_bf16(v), n);
}
FORESIGHT_INLINE void store_n(F16, std::uint16_t* p, Vec v, std::int64_t n) {
  store_bits_n(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT), n);
}

FORESIGHT_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS
