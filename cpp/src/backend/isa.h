// Instruction sets that CPU kernels are compiled for, in ascending order of preference.
#pragma once

#include <string_view>
#include <vector>

namespace foresight {

enum class Isa : int { generic = 0, avx2 = 1, avx512 = 2, avx512_bf16 = 3 };
inline constexpr int kNumIsas = 4;

std::string_view name_of(Isa isa);
// Throws ValueError naming the choices.
Isa isa_from_name(std::string_view name);
// What this processor and this build can run, ascending; always holds generic.
std::vector<Isa> supported_isas();
// The fastest one here (on Intel avx512 rather than avx512_bf16), or the one FORESIGHT_ISA names;
// throws ValueError when that one is unknown or cannot run here.
Isa default_isa();

}  // namespace foresight
