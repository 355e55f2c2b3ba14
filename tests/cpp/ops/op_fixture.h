// A context per ISA that this machine can run.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/cpu_context.h"
#include "ops/cpu_kernels.h"

namespace foresight::ops {

class OnEveryIsa : public testing::TestWithParam<int> {
 protected:
  OnEveryIsa() { register_cpu_kernels(registry_); }

  void SetUp() override {
    for (const Isa isa : supported_isas()) {
      if (isa == this->isa()) return;
    }
    GTEST_SKIP() << "missing: this processor or build cannot run " << name_of(isa());
  }

  Isa isa() const { return static_cast<Isa>(GetParam()); }
  CpuContext context(ThreadPool& threads) const {
    return {.kernels = &registry_, .threads = &threads, .isa = isa()};
  }
  CpuContext context() { return context(threads_); }

 private:
  KernelRegistry registry_;
  ThreadPool threads_{2};
};

inline std::string isa_name(const testing::TestParamInfo<int>& instance) {
  return std::string(name_of(static_cast<Isa>(instance.param)));
}

#define FORESIGHT_ON_EVERY_ISA(suite) \
  INSTANTIATE_TEST_SUITE_P(EveryIsa, suite, testing::Range(0, kNumIsas), isa_name)

// Bits, so that NaN equals itself and -0 differs from 0.
inline std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

}  // namespace foresight::ops
