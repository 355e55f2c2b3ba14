// Vec of 16 floats: AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

using Vec = __m512;
constexpr int kWidth = 16;
constexpr int kVectorRegisters = 32;

FORESIGHT_INLINE Vec zero() { return _mm512_setzero_ps(); }
FORESIGHT_INLINE Vec set1(float value) { return _mm512_set1_ps(value); }

FORESIGHT_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
FORESIGHT_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
FORESIGHT_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
FORESIGHT_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
FORESIGHT_INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
FORESIGHT_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
FORESIGHT_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
FORESIGHT_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
FORESIGHT_INLINE std::uint32_t equal_mask(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
FORESIGHT_INLINE Vec shift_left_23(Vec a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23));
}

FORESIGHT_INLINE __mmask16 first_lanes(std::int64_t n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}

FORESIGHT_INLINE Vec widen_bf16(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
// Round to nearest, ties to even, NaN quiet: as float_to_bf16.
FORESIGHT_INLINE __m256i narrow_bf16(Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_mov_epi32(rounded, is_nan, quiet);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16));
}

FORESIGHT_INLINE Vec load(F32, const float* p) { return _mm512_loadu_ps(p); }
FORESIGHT_INLINE Vec load(Bf16, const std::uint16_t* p) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
FORESIGHT_INLINE Vec load(F16, const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
FORESIGHT_INLINE Vec load_n(F32, const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
FORESIGHT_INLINE Vec load_n(Bf16, const std::uint16_t* p, std::int64_t n) {
  return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
FORESIGHT_INLINE Vec load_n(F16, const std::uint16_t* p, std::int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
FORESIGHT_INLINE void load_pairs(const std::uint16_t* p, Vec& first, Vec& second) {
  const __m512i both = _mm512_loadu_si512(p);
  first = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
  second =
      _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

FORESIGHT_INLINE void store(F32, float* p, Vec v) { _mm512_storeu_ps(p, v); }
FORESIGHT_INLINE void store(Bf16, std::uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(v));
}
FORESIGHT_INLINE void store(F16, std::uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
FORESIGHT_INLINE void store_n(F32, float* p, Vec v, std::int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
FORESIGHT_INLINE void store_n(Bf16, std::uint16_t* p, Vec v, std::int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), narrow_bf16(v));
}
FORESIGHT_INLINE void store_n(F16, std::uint16_t* p, Vec v, std::int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

FORESIGHT_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS
