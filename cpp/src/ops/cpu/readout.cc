#include "ops/readout.h"

#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

// Elements summed in float32 before their lanes go into the double.
constexpr std::int64_t kSumBlock = 32 * kWidth;

MaxEntry argmax(const float* row, std::int64_t size) {
  const float lowest = -__builtin_inff();
  Vec best = set1(lowest);
  std::int64_t i = 0;
  for (; i + kWidth <= size; i += kWidth)
    best = max(load(F32{}, row + i), best);  // a NaN gives best
  float value = greatest(best);
  for (; i < size; ++i) value = row[i] > value ? row[i] : value;
  const Vec wanted = set1(value);
  for (i = 0; i + kWidth <= size; i += kWidth) {
    const std::uint32_t equal = equal_mask(load(F32{}, row + i), wanted);
    if (equal != 0) return {value, i + __builtin_ctz(equal)};
  }
  for (; i < size; ++i) {
    if (row[i] == value) return {value, i};
  }
  return {size > 0 ? row[0] : lowest, 0};  // nothing but NaN
}

double exp_sum(const float* row, std::int64_t size, float shift, float* out) {
  const Vec shifts = set1(shift);
  double total = 0.0;
  for (std::int64_t begin = 0; begin < size; begin += kSumBlock) {
    const std::int64_t end = size - begin < kSumBlock ? size : begin + kSumBlock;
    Vec sums = zero();
    for (std::int64_t i = begin; i < end; i += kWidth) {
      const std::int64_t n = end - i < kWidth ? end - i : kWidth;
      Vec value = exp(sub(load_n(F32{}, row + i, n), shifts));
      if (n < kWidth) {
        float lanes[kWidth];
        store(F32{}, lanes, value);
        value = load_n(F32{}, lanes, n);
      }
      if (out != nullptr) store_n(F32{}, out + i, value, n);
      sums = add(sums, value);
    }
    float lanes[kWidth];
    store(F32{}, lanes, sums);
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

}  // namespace

void register_readout(KernelRegistry& registry) {
  registry.add<ArgmaxKernel>(Isa(FORESIGHT_ISA_LEVEL), &argmax);
  registry.add<ExpSumKernel>(Isa(FORESIGHT_ISA_LEVEL), &exp_sum);
}

}  // namespace foresight::ops::FORESIGHT_ISA_NS
