#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/tolerances.h"
#include "ops/matmul.h"
#include "ops/parity/cases.h"

namespace foresight::ops::parity {
namespace {

struct Shape {
  std::int64_t rows, outputs, inputs;
};

// Odd sizes, one of everything, sizes at and beside the panel, more rows than one block.
constexpr Shape kShapes[] = {{0, 33, 70},   {1, 1, 1},     {1, 96, 128},  {7, 33, 70},
                             {8, 64, 64},   {12, 32, 257}, {13, 100, 96}, {63, 65, 129},
                             {65, 31, 300}, {3, 160, 3072}};

enum class Fill { plain, bias_and_residual, not_finite };

constexpr const char* name_of_fill(Fill fill) {
  switch (fill) {
    case Fill::plain:
      return "plain";
    case Fill::bias_and_residual:
      return "bias+residual";
    case Fill::not_finite:
      return "nan+inf";
  }
  return "?";
}

double matmul_error(const CpuContext& context, const Shape& shape, DType dtype, Fill fill) {
  const auto [rows, outputs, inputs] = shape;
  std::vector<float> a = random_values(1, rows * inputs);
  const std::vector<float> w = random_values(2, outputs * inputs);
  const std::vector<float> bias = random_values(3, outputs);
  const std::int64_t ldc = outputs + 3;
  std::vector<float> c = random_values(4, rows * ldc);
  if (fill == Fill::not_finite) {
    // Row 0 holds a NaN and row 2 an infinity: all other rows stay finite.
    if (rows > 0) a[0] = std::numeric_limits<float>::quiet_NaN();
    if (rows > 2)
      a[static_cast<std::size_t>(3 * inputs - 1)] = std::numeric_limits<float>::infinity();
  }
  const std::vector<float> before = c;
  const TensorView view{.data = w.data(), .dtype = DType::f32, .shape = {outputs, inputs}};
  const PackedMatrix packed = PackedMatrix::pack(context, {&view, 1}, dtype);
  const bool extras = fill == Fill::bias_and_residual;
  MatmulScratch scratch;
  matmul(context,
         {.a = a.data(),
          .lda = inputs,
          .num_rows = rows,
          .weight = &packed,
          .bias = extras ? bias.data() : nullptr,
          .c = c.data(),
          .ldc = ldc,
          .accumulate = extras},
         scratch);
  double worst = 0.0;
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < ldc; ++n) {
      const auto at = static_cast<std::size_t>(m * ldc + n);
      if (n >= outputs) {  // beyond the row: untouched
        worst = std::max(worst, normalised_error(c[at], static_cast<double>(before[at]), 1e-30));
        continue;
      }
      double wanted = 0.0;
      double scale = 0.0;
      for (std::int64_t k = 0; k < inputs; ++k) {
        float x = a[static_cast<std::size_t>(m * inputs + k)];
        if (uses_bf16_rows(context.isa, dtype)) x = stored(x, DType::bf16);
        const double term =
            static_cast<double>(x) *
            static_cast<double>(stored(w[static_cast<std::size_t>(n * inputs + k)], dtype));
        wanted += term;
        scale += std::abs(term);
      }
      if (extras) {
        wanted += static_cast<double>(bias[static_cast<std::size_t>(n)]) +
                  static_cast<double>(before[at]);
        scale += 2.0;
      }
      worst = std::max(worst, normalised_error(c[at], wanted, scale));
    }
  }
  return worst;
}

}  // namespace

void add_matmul_cases(std::vector<ParityCase>& cases) {
  for (const DType dtype : kAllDTypes) {
    for (const Shape& shape : kShapes) {
      for (const Fill fill : {Fill::plain, Fill::bias_and_residual, Fill::not_finite}) {
        cases.push_back(
            {concat("matmul/", name_of(dtype), "/rows=", shape.rows, "/outputs=", shape.outputs,
                    "/inputs=", shape.inputs, "/", name_of_fill(fill)),
             MatmulKernel::kName, tolerances::kMatmul,
             [=](const CpuContext& context) { return matmul_error(context, shape, dtype, fill); }});
      }
    }
  }
}

}  // namespace foresight::ops::parity
