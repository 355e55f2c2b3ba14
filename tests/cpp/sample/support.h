// Every instruction set this machine can run, as a context without threads.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ops/cpu_kernels.h"
#include "ops/readout.h"

namespace foresight::sample_test {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline CpuContext context_for(Isa isa) {
  static const KernelRegistry kernels = [] {
    KernelRegistry registry;
    ops::register_cpu_kernels(registry);
    return registry;
  }();
  CpuContext context;
  context.kernels = &kernels;
  context.isa = isa;
  return context;
}

class EveryIsa : public testing::TestWithParam<Isa> {
 protected:
  CpuContext context_ = context_for(GetParam());
};

inline std::string isa_name(const testing::TestParamInfo<Isa>& info) {
  return std::string(name_of(info.param));
}

inline std::vector<float> random_scores(std::size_t size, float scale, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> scores(size);
  for (float& score : scores) score = normal(engine);
  return scores;
}

// Plain float64 softmax; forbidden scores have probability 0.
inline std::vector<double> softmax(const std::vector<float>& scores) {
  double max = -std::numeric_limits<double>::infinity();
  for (const float score : scores) max = std::fmax(max, score);
  double sum = 0.0;
  for (const float score : scores) sum += std::exp(score - max);
  std::vector<double> probabilities;
  for (const float score : scores) probabilities.push_back(std::exp(score - max) / sum);
  return probabilities;
}

}  // namespace foresight::sample_test
