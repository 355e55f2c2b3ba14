// Every op against a float64 reference, over one list of cases that runs on every variant: through
// GoogleTest and through the Python bindings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/isa.h"

namespace foresight::ops::parity {

struct ParityResult {
  bool missing = false;  // this build or this processor has no such variant; nothing was run
  double error = 0.0;    // the greatest normalised error; infinity where only one side is finite
  double bound = 0.0;
  bool passed() const { return !missing && error <= bound; }
};

// "matmul/bfloat16/rows=7/outputs=33/inputs=70/...", unique.
std::vector<std::string> case_names();

// Throws ValueError when no case has that name.
ParityResult run_case(std::string_view name, Isa isa);

}  // namespace foresight::ops::parity
