// A vector of floats with one set of operations per ISA, and what kernels build on it.
//
// This header is compiled several times with different instruction sets. Nothing in it (nor in any
// kernel) may have external linkage besides the register functions: an inline function that two
// such objects share would be merged by the linker, and the generic path could run AVX-512 code.
// Hence the anonymous namespaces, and plain structs without member functions as kernel arguments.
//
// Each vec_*.h defines: Vec, kWidth, and
//   zero, set1, load, store, load_n, store_n       n in [1, kWidth]; the other lanes are 0 /
//   untouched load / store / load_n / store_n of bf16 and f16 storage through tags (Bf16, F16)
//   load_pairs      kWidth 32-bit lanes of two bf16: the first of each and the second of each
//   add, sub, mul, div, sqrt, fma(a, b, c) = a * b + c
//   max(a, b), min(a, b)   b when either is NaN
//   equal_mask      bit i: lane i equal
//   shift_left_23   of the lanes' bits
//   prefetch
#pragma once

#include <cstddef>
#include <cstdint>

#define FORESIGHT_INLINE [[gnu::always_inline]] inline

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

// Storage types, as tags: a kernel is a template over them.
struct F32 {
  using Element = float;
  static constexpr bool kPaired = false;  // two consecutive inputs share a 32-bit lane when packed
};
struct Bf16 {
  using Element = std::uint16_t;
  static constexpr bool kPaired = true;
};
struct F16 {
  using Element = std::uint16_t;
  static constexpr bool kPaired = false;
};

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS

#if FORESIGHT_ISA_LEVEL >= 2
#include "ops/cpu/vec_avx512.h"
#elif FORESIGHT_ISA_LEVEL == 1
#include "ops/cpu/vec_avx2.h"
#else
#include "ops/cpu/vec_generic.h"
#endif

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

FORESIGHT_INLINE Vec sub_fma(Vec a, Vec b, Vec c) {
  return fma(sub(zero(), a), b, c);
}  // c - a * b

// Sum of the lanes, by halving: a fixed tree.
FORESIGHT_INLINE float sum(Vec v) {
  float lanes[kWidth];
  store(F32{}, lanes, v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// Greatest lane; a NaN may or may not win, by the lanes alone.
FORESIGHT_INLINE float greatest(Vec v) {
  float lanes[kWidth];
  store(F32{}, lanes, v);
  float best = lanes[0];
  for (int i = 1; i < kWidth; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

FORESIGHT_INLINE float first_lane(Vec v) {
  float lanes[kWidth];
  store(F32{}, lanes, v);
  return lanes[0];
}

// e^x within 2 ulp; -inf gives 0, overflow inf, NaN stays NaN, subnormal results are rounded once.
// x = n ln 2 + r with |r| <= ln 2 / 2; the polynomial is that of Cephes' expf.
FORESIGHT_INLINE Vec exp(Vec x) {
  const Vec magic =
      set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, found in the low bits
  x = min(set1(89.0f), max(set1(-104.0f), x));  // beyond these the result is inf or 0 anyway
  const Vec n = sub(add(mul(x, set1(1.44269504f)), magic), magic);
  Vec r = sub_fma(n, set1(0.693359375f), x);  // 9 bits of ln 2: the product is exact
  r = sub_fma(n, set1(-2.12194440e-4f), r);
  Vec p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), set1(1.0f));
  // 2^n in two factors, so that neither leaves the range of normal numbers.
  const Vec half = sub(add(mul(n, set1(0.5f)), magic), magic);
  const Vec bias = set1(12582912.0f + 127.0f);
  const Vec factor1 = shift_left_23(add(half, bias));
  const Vec factor2 = shift_left_23(add(sub(n, half), bias));
  return mul(mul(p, factor1), factor2);
}

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS
