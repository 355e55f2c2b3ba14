// Adapters of a linear layer: what they add, to which rows, and that the others keep their bits.
#include "model/blocks/linear.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "cpp/model/random_model.h"
#include "model/cpu_runtime.h"

namespace foresight {
namespace {

using model_test::RandomWeights;
using model_test::tiny_config;

constexpr std::int64_t kInputs = 32, kQ = 64, kKv = 32, kOutputs = kQ + 2 * kKv, kRank = 3;
constexpr std::int64_t kRows = 9;
constexpr float kScale = 1.5f;

const std::vector<LinearPart> kParts = {
    {"layers.0.q", kQ, true}, {"layers.0.k", kKv, true}, {"layers.0.v", kKv, false}};

class AdaptedLinear : public testing::TestWithParam<Isa> {
 protected:
  AdaptedLinear()
      : runtime_(2, GetParam()), plain_(tiny_config("llama")), adapted_(plain_config()) {
    adapted_.add_adapter("layers.0.q", kQ, kInputs, kRank);
    adapted_.add_adapter("layers.0.v", kKv, kInputs, kRank);
    for (std::int64_t i = 0; i < kRows * kInputs; ++i) {
      x_.push_back(static_cast<float>(uniform({.seed = 9}, static_cast<std::uint64_t>(i), 0)));
    }
  }
  static ModelConfig plain_config() { return tiny_config("llama"); }

  std::vector<float> apply(const Weights& weights, const std::vector<std::int32_t>& adapter_rows,
                           DType storage = DType::f32) {
    const Linear linear(runtime_.context(), weights, kParts, kInputs, storage, kScale);
    std::vector<float> out(static_cast<std::size_t>(kRows * kOutputs), 0.25f);
    LinearScratch scratch;
    linear.apply(
        runtime_.context(),
        {.x = x_.data(), .stride = kInputs, .num_rows = kRows, .adapter_rows = adapter_rows},
        out.data(), kOutputs, true, scratch);
    return out;
  }

  CpuRuntime runtime_;
  RandomWeights plain_;
  RandomWeights adapted_;
  std::vector<float> x_;  // [kRows, kInputs]
};

TEST_P(AdaptedLinear, AddsTheLowRankProductToTheRowsThatAsk) {
  const std::vector<std::int32_t> rows = {1, 4, 8};
  const std::vector<float> without = apply(plain_.weights(), {});
  const std::vector<float> with = apply(adapted_.weights(), rows);
  for (const std::int32_t row : rows) {
    for (std::int64_t n = 0; n < kOutputs; ++n) {
      const bool is_q = n < kQ;
      double wanted = 0.0;
      if (is_q || n >= kQ + kKv) {
        const std::string name = is_q ? "layers.0.q" : "layers.0.v";
        const TensorView& a = *adapted_.weights().find(name + ".lora_a");
        const TensorView& b = *adapted_.weights().find(name + ".lora_b");
        const std::int64_t output = is_q ? n : n - kQ - kKv;
        for (std::int64_t r = 0; r < kRank; ++r) {
          double low = 0.0;
          for (std::int64_t k = 0; k < kInputs; ++k) {
            low += static_cast<double>(a.at(r * kInputs + k)) *
                   static_cast<double>(x_[static_cast<std::size_t>(row * kInputs + k)]);
          }
          wanted += kScale * low * static_cast<double>(b.at(output * kRank + r));
        }
      }
      const auto at = static_cast<std::size_t>(row * kOutputs + n);
      EXPECT_NEAR(with[at] - without[at], wanted, 1e-5) << row << ", " << n;
    }
  }
}

TEST_P(AdaptedLinear, OtherRowsKeepTheirBits) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    const std::vector<float> without = apply(plain_.weights(), {}, storage);
    const std::vector<float> with = apply(adapted_.weights(), {0, 5}, storage);
    const std::vector<float> all = apply(adapted_.weights(), {0, 1, 2, 3, 4, 5, 6, 7, 8}, storage);
    for (std::int64_t row = 0; row < kRows; ++row) {
      const std::vector<float>& wanted = row == 0 || row == 5 ? all : without;
      EXPECT_EQ(std::memcmp(with.data() + row * kOutputs, wanted.data() + row * kOutputs,
                            kOutputs * sizeof(float)),
                0)
          << row;
    }
  }
}

TEST_P(AdaptedLinear, HalvesThatDoNotFitAreNamed) {
  RandomWeights broken(plain_config());
  broken.add_adapter("layers.0.q", kQ, kInputs + 1, kRank);
  try {
    apply(broken.weights(), {});
    FAIL() << "no error";
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("'layers.0.q.lora_a'"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, AdaptedLinear, testing::ValuesIn(supported_isas()),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

}  // namespace
}  // namespace foresight
