// RMSNorm, rotary and gated MLP treat every row alone, in place or not.
#include <gtest/gtest.h>

#include "cpp/ops/op_fixture.h"
#include "ops/gated_mlp.h"
#include "ops/parity/cases.h"
#include "ops/rmsnorm.h"
#include "ops/rope.h"

namespace foresight::ops {
namespace {

constexpr std::int64_t kRows = 65, kHeads = 3, kHeadDim = 78, kStride = 250;

class RowwiseInvariance : public OnEveryIsa {
 protected:
  // Runs op(first row, number of rows, data) on all rows at once and on each alone.
  template <typename Op>
  void expect_rows_alone(const Op& op) {
    std::vector<float> together = parity::random_values(1, kRows * kStride, 4.0f);
    std::vector<float> alone = together;
    op(0, kRows, together.data());
    for (std::int64_t m = 0; m < kRows; ++m) op(m, 1, alone.data() + m * kStride);
    EXPECT_EQ(bits_of(together), bits_of(alone));
  }
};

TEST_P(RowwiseInvariance, RmsNorm) {
  const std::vector<float> weight = parity::random_values(2, kHeadDim);
  expect_rows_alone([&](std::int64_t, std::int64_t rows, float* x) {
    rmsnorm(context(), {.x = x,
                        .x_stride = kStride,
                        .num_rows = rows,
                        .size = kHeadDim,
                        .num_groups = kHeads,
                        .weight = weight.data(),
                        .eps = 1e-6f,
                        .out = x,
                        .out_stride = kStride});
  });
}

TEST_P(RowwiseInvariance, GroupsAreVectorsOfTheirOwn) {
  const std::vector<float> x = parity::random_values(1, kHeads * kHeadDim);
  const std::vector<float> weight = parity::random_values(2, kHeadDim);
  std::vector<float> grouped(x.size()), apart(x.size());
  RmsNormArgs args{.x = x.data(),
                   .x_stride = kStride,
                   .num_rows = 1,
                   .size = kHeadDim,
                   .num_groups = kHeads,
                   .weight = weight.data(),
                   .eps = 1e-5f,
                   .out = grouped.data(),
                   .out_stride = kStride};
  rmsnorm(context(), args);
  args = {.x = x.data(),
          .x_stride = kHeadDim,
          .num_rows = kHeads,
          .size = kHeadDim,
          .num_groups = 1,
          .weight = weight.data(),
          .eps = 1e-5f,
          .out = apart.data(),
          .out_stride = kHeadDim};
  rmsnorm(context(), args);
  EXPECT_EQ(bits_of(grouped), bits_of(apart));
}

TEST_P(RowwiseInvariance, Rope) {
  for (const std::int64_t rotary_dim : {kHeadDim, kHeadDim / 4 * 2}) {
    const std::int64_t half = rotary_dim / 2;
    const std::vector<float> cos = parity::random_values(2, kRows * half),
                             sin = parity::random_values(3, kRows * half);
    expect_rows_alone([&](std::int64_t first, std::int64_t rows, float* x) {
      rope(context(), {.x = x,
                       .x_stride = kStride,
                       .num_rows = rows,
                       .num_heads = kHeads,
                       .head_dim = kHeadDim,
                       .rotary_dim = rotary_dim,
                       .cos = cos.data() + first * half,
                       .sin = sin.data() + first * half});
    });
  }
}

TEST_P(RowwiseInvariance, GatedMlp) {
  for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
    expect_rows_alone([&](std::int64_t, std::int64_t rows, float* x) {
      std::vector<float> out(static_cast<std::size_t>(rows * kStride));
      gated_mlp(context(), {.gate_up = x,
                            .gate_up_stride = kStride,
                            .num_rows = rows,
                            .size = 117,
                            .activation = activation,
                            .out = out.data(),
                            .out_stride = kStride});
      std::copy(out.begin(), out.end(), x);
    });
  }
}

FORESIGHT_ON_EVERY_ISA(RowwiseInvariance);

}  // namespace
}  // namespace foresight::ops
