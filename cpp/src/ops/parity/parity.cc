#include "ops/parity/parity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/rng.h"
#include "ops/cpu_kernels.h"
#include "ops/parity/cases.h"

namespace foresight::ops::parity {
namespace {

const std::vector<ParityCase>& all_cases() {
  static const std::vector<ParityCase> cases = [] {
    std::vector<ParityCase> list;
    add_matmul_cases(list);
    add_rowwise_cases(list);
    add_storage_cases(list);
    add_readout_cases(list);
    add_attention_cases(list);
    return list;
  }();
  return cases;
}

}  // namespace

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const ParityCase& one : all_cases()) names.push_back(one.name);
  return names;
}

ParityResult run_case(std::string_view name, Isa isa) {
  const auto& cases = all_cases();
  const auto found =
      std::find_if(cases.begin(), cases.end(), [&](const ParityCase& c) { return c.name == name; });
  if (found == cases.end()) throw ValueError(concat("no parity case is named \"", name, "\""));
  KernelRegistry registry;
  register_cpu_kernels(registry);
  const std::vector<Isa> isas = supported_isas();
  ParityResult result{.missing = true, .error = 0.0, .bound = found->bound};
  if (std::find(isas.begin(), isas.end(), isa) == isas.end() ||
      !registry.has_variant(found->kernel, isa))
    return result;
  ThreadPool threads;
  result.missing = false;
  result.error = found->error({.kernels = &registry, .threads = &threads, .isa = isa});
  return result;
}

std::vector<float> random_values(std::uint64_t seed, std::int64_t count, float scale) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double unit = static_cast<double>(mix64(seed, i) >> 11) * 0x1p-53;
    values[i] = static_cast<float>((2.0 * unit - 1.0) * static_cast<double>(scale));
  }
  return values;
}

float stored(float value, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return value;
    case DType::bf16:
      return bf16_to_float(float_to_bf16(value));
    case DType::f16:
      return f16_to_float(float_to_f16(value));
  }
  return value;
}

double normalised_error(float got, double wanted, double scale) {
  const bool got_finite = std::isfinite(got);
  if (got_finite != std::isfinite(wanted)) return std::numeric_limits<double>::infinity();
  if (!got_finite) return 0.0;
  const double difference = std::abs(static_cast<double>(got) - wanted);
  return difference == 0.0 ? 0.0 : difference / std::max(scale, 1e-30);
}

}  // namespace foresight::ops::parity
