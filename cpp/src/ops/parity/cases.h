// What the cases of the parity harness are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/cpu_context.h"
#include "core/dtype.h"

namespace foresight::ops::parity {

struct ParityCase {
  std::string name;
  const char* kernel;  // the variant that must exist
  double bound;
  std::function<double(const CpuContext&)> error;  // runs the op, gives the greatest error
};

void add_matmul_cases(std::vector<ParityCase>& cases);
void add_attention_cases(std::vector<ParityCase>& cases);
void add_rowwise_cases(std::vector<ParityCase>& cases);  // RMSNorm, rotary, gated MLP
void add_storage_cases(std::vector<ParityCase>& cases);  // embedding, K/V pages, rows to bf16
void add_readout_cases(std::vector<ParityCase>& cases);

// Reproducible values in [-scale, scale).
std::vector<float> random_values(std::uint64_t seed, std::int64_t count, float scale = 1.0f);

// The value after a round trip through storage.
float stored(float value, DType dtype);

// |got - wanted| / scale, 0 when neither is finite, infinity when only one is.
double normalised_error(float got, double wanted, double scale);

inline constexpr DType kAllDTypes[] = {DType::f32, DType::bf16, DType::f16};

}  // namespace foresight::ops::parity
