#include "backend/isa.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

#if FORESIGHT_X86
#include <cpuid.h>
#endif

namespace foresight {
namespace {

constexpr std::string_view kNames[kNumIsas] = {"generic", "avx2", "avx512", "avx512_bf16"};

#if FORESIGHT_X86
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// Intel's cores take two cycles for a 512-bit product of bf16 pairs, so widening to float32 and
// fused multiply-adds are faster (1.4 times at 12 rows and more, Sapphire Rapids), and more
// accurate. AMD's take one.
bool has_fast_bf16_products() { return !__builtin_cpu_is("intel"); }

// __builtin_cpu_supports also asks whether the operating system saves the registers.
bool processor_has(Isa isa) {
  switch (isa) {
    case Isa::generic:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case Isa::avx512:
      return processor_has(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::avx512_bf16:
      return processor_has(Isa::avx512) && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}
#else
bool has_fast_bf16_products() { return true; }
bool processor_has(Isa isa) { return isa == Isa::generic; }
#endif

}  // namespace

std::string_view name_of(Isa isa) { return kNames[static_cast<int>(isa)]; }

Isa isa_from_name(std::string_view name) {
  for (int i = 0; i < kNumIsas; ++i) {
    if (kNames[i] == name) return static_cast<Isa>(i);
  }
  throw ValueError(concat("unknown instruction set \"", name,
                          "\": expected generic, avx2, avx512 or avx512_bf16"));
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (int i = 0; i < kNumIsas; ++i) {
    if (processor_has(static_cast<Isa>(i))) isas.push_back(static_cast<Isa>(i));
  }
  return isas;
}

Isa default_isa() {
  const char* forced = std::getenv("FORESIGHT_ISA");
  if (forced == nullptr || *forced == '\0') {
    const Isa best = supported_isas().back();
    return best == Isa::avx512_bf16 && !has_fast_bf16_products() ? Isa::avx512 : best;
  }
  const Isa isa = isa_from_name(forced);
  if (!processor_has(isa)) {
    throw ValueError(concat("FORESIGHT_ISA=", forced,
                            " cannot run on this processor; the best that can is ",
                            name_of(supported_isas().back())));
  }
  return isa;
}

}  // namespace foresight
