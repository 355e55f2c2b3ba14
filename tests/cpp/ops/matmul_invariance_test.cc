// A row's product has the same bits alone and among any others, with any number of threads.
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "cpp/ops/op_fixture.h"
#include "ops/matmul.h"
#include "ops/parity/cases.h"

namespace foresight::ops {
namespace {

class MatmulInvariance : public OnEveryIsa {
 protected:
  static std::vector<float> product(const CpuContext& context, const float* a, std::int64_t rows,
                                    const PackedMatrix& weight) {
    std::vector<float> c(static_cast<std::size_t>(rows * weight.num_outputs()));
    MatmulScratch scratch;
    matmul(context,
           {.a = a,
            .lda = weight.num_inputs(),
            .num_rows = rows,
            .weight = &weight,
            .bias = nullptr,
            .c = c.data(),
            .ldc = weight.num_outputs(),
            .accumulate = false},
           scratch);
    return c;
  }
};

TEST_P(MatmulInvariance, EveryRowCountGivesTheBitsOfOneRow) {
  struct Size {
    std::int64_t outputs, inputs;
  };
  // The last is above the work that threads share; row counts reach beyond what stays resident.
  for (const Size size : {Size{1, 1}, Size{65, 77}, Size{300, 1030}, Size{40, 4099}}) {
    for (const DType dtype : parity::kAllDTypes) {
      const std::int64_t max_rows = 131;
      std::vector<float> a = parity::random_values(1, max_rows * size.inputs);
      a[static_cast<std::size_t>(2 * size.inputs)] = std::numeric_limits<float>::quiet_NaN();
      a[static_cast<std::size_t>(5 * size.inputs)] = std::numeric_limits<float>::infinity();
      const std::vector<float> w = parity::random_values(2, size.outputs * size.inputs);
      const TensorView view{
          .data = w.data(), .dtype = DType::f32, .shape = {size.outputs, size.inputs}};
      const PackedMatrix packed = PackedMatrix::pack(context(), {&view, 1}, dtype);
      std::vector<std::uint32_t> alone;
      for (std::int64_t m = 0; m < max_rows; ++m) {
        for (const std::uint32_t bits :
             bits_of(product(context(), a.data() + m * size.inputs, 1, packed))) {
          alone.push_back(bits);
        }
      }
      for (const std::int64_t rows :
           {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 25, 63, 65, 131}) {
        for (const std::int64_t first : {std::int64_t{0}, max_rows - rows}) {
          const auto got =
              bits_of(product(context(), a.data() + first * size.inputs, rows, packed));
          const auto begin = alone.begin() + first * size.outputs;
          EXPECT_TRUE(std::equal(got.begin(), got.end(), begin))
              << rows << " rows from " << first << ", " << size.outputs << " x " << size.inputs
              << ", " << name_of(dtype);
        }
      }
    }
  }
}

TEST_P(MatmulInvariance, TheNumberOfThreadsCannotBeSeen) {
  const std::int64_t rows = 17, outputs = 700, inputs = 129;
  const std::vector<float> a = parity::random_values(1, rows * inputs);
  const std::vector<float> w = parity::random_values(2, outputs * inputs);
  const TensorView view{.data = w.data(), .dtype = DType::f32, .shape = {outputs, inputs}};
  for (const DType dtype : parity::kAllDTypes) {
    const PackedMatrix packed = PackedMatrix::pack(context(), {&view, 1}, dtype);
    ThreadPool one(1), five(5);
    EXPECT_EQ(bits_of(product(context(one), a.data(), rows, packed)),
              bits_of(product(context(five), a.data(), rows, packed)));
  }
}

TEST_P(MatmulInvariance, InconsistentShapesThrow) {
  const std::vector<float> w = parity::random_values(2, 12);
  const TensorView view{.data = w.data(), .dtype = DType::f32, .shape = {3, 4}};
  const PackedMatrix packed = PackedMatrix::pack(context(), {&view, 1}, DType::f32);
  std::vector<float> c(3);
  MatmulScratch scratch;
  MatmulArgs args{.a = w.data(),
                  .lda = 3,
                  .num_rows = 1,
                  .weight = &packed,
                  .bias = nullptr,
                  .c = c.data(),
                  .ldc = 3};
  EXPECT_THROW(matmul(context(), args, scratch), InternalError);
  args.lda = 4;
  args.ldc = 2;
  EXPECT_THROW(matmul(context(), args, scratch), InternalError);
  args.ldc = 3;
  args.weight = nullptr;
  EXPECT_THROW(matmul(context(), args, scratch), InternalError);
}

FORESIGHT_ON_EVERY_ISA(MatmulInvariance);

}  // namespace
}  // namespace foresight::ops
