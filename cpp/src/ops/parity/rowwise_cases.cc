#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/tolerances.h"
#include "ops/gated_mlp.h"
#include "ops/parity/cases.h"
#include "ops/rmsnorm.h"
#include "ops/rope.h"

namespace foresight::ops::parity {
namespace {

constexpr std::int64_t kRowCounts[] = {0, 1, 7, 63, 65};

// A NaN in row 0 and an infinity in row 1.
void spoil(std::vector<float>& values, std::int64_t rows, std::int64_t stride) {
  if (rows > 0) values[0] = std::numeric_limits<float>::quiet_NaN();
  if (rows > 1) values[static_cast<std::size_t>(stride)] = std::numeric_limits<float>::infinity();
}

double rmsnorm_error(const CpuContext& context, std::int64_t rows, std::int64_t groups,
                     std::int64_t size, bool spoiled) {
  const std::int64_t stride = groups * size + 5;
  std::vector<float> x = random_values(1, rows * stride, 3.0f);
  if (spoiled) spoil(x, rows, stride);
  const std::vector<float> weight = random_values(2, size);
  std::vector<float> out(x.size());
  const float eps = 1e-6f;
  rmsnorm(context, {.x = x.data(),
                    .x_stride = stride,
                    .num_rows = rows,
                    .size = size,
                    .num_groups = groups,
                    .weight = weight.data(),
                    .eps = eps,
                    .out = out.data(),
                    .out_stride = stride});
  double worst = 0.0;
  for (std::int64_t vector = 0; vector < rows * groups; ++vector) {
    const std::int64_t begin = vector / groups * stride + vector % groups * size;
    double squares = 0.0;
    for (std::int64_t i = begin; i < begin + size; ++i) {
      squares += std::pow(static_cast<double>(x[static_cast<std::size_t>(i)]), 2);
    }
    const double scale =
        1.0 / std::sqrt(squares / static_cast<double>(size) + static_cast<double>(eps));
    for (std::int64_t i = 0; i < size; ++i) {
      const auto at = static_cast<std::size_t>(begin + i);
      const double wanted = static_cast<double>(x[at]) * scale *
                            static_cast<double>(weight[static_cast<std::size_t>(i)]);
      worst = std::max(worst, normalised_error(out[at], wanted, std::abs(wanted)));
    }
  }
  return worst;
}

double rope_error(const CpuContext& context, std::int64_t rows, std::int64_t heads,
                  std::int64_t head_dim, std::int64_t rotary_dim, bool spoiled) {
  const std::int64_t stride = heads * head_dim + 2;
  const std::int64_t half = rotary_dim / 2;
  std::vector<float> x = random_values(1, rows * stride);
  if (spoiled) spoil(x, rows, stride);
  const std::vector<float> cos = random_values(2, rows * half);
  const std::vector<float> sin = random_values(3, rows * half);
  std::vector<float> out = x;
  rope(context, {.x = out.data(),
                 .x_stride = stride,
                 .num_rows = rows,
                 .num_heads = heads,
                 .head_dim = head_dim,
                 .rotary_dim = rotary_dim,
                 .cos = cos.data(),
                 .sin = sin.data()});
  double worst = 0.0;
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t i = 0; i < heads * half; ++i) {
      const std::int64_t d = i % half;
      const auto low = static_cast<std::size_t>(m * stride + i / half * head_dim + d);
      const auto high = low + static_cast<std::size_t>(half);
      const auto c = static_cast<double>(cos[static_cast<std::size_t>(m * half + d)]);
      const auto s = static_cast<double>(sin[static_cast<std::size_t>(m * half + d)]);
      const auto a = static_cast<double>(x[low]);
      const auto b = static_cast<double>(x[high]);
      worst = std::max(
          worst, normalised_error(out[low], a * c - b * s, std::abs(a * c) + std::abs(b * s)));
      worst = std::max(
          worst, normalised_error(out[high], b * c + a * s, std::abs(b * c) + std::abs(a * s)));
    }
    for (std::int64_t i = 0; i < heads * (head_dim - rotary_dim); ++i) {
      const std::int64_t passed = head_dim - rotary_dim;
      const auto at =
          static_cast<std::size_t>(m * stride + i / passed * head_dim + rotary_dim + i % passed);
      const auto stays = static_cast<double>(x[at]);
      worst = std::max(worst, normalised_error(out[at], stays, std::abs(stays)));
    }
  }
  return worst;
}

double reference_activation(double v, Activation activation) {
  if (activation == Activation::silu) return v / (1.0 + std::exp(-v));
  const double u = std::sqrt(2.0 / 3.14159265358979323846) * (v + 0.044715 * v * v * v);
  return v / (1.0 + std::exp(-2.0 * u));  // v / 2 (1 + tanh(u))
}

double gated_mlp_error(const CpuContext& context, std::int64_t rows, std::int64_t size,
                       Activation activation, bool spoiled) {
  const std::int64_t stride = 2 * size + 1;
  std::vector<float> x = random_values(1, rows * stride, 20.0f);
  if (spoiled) spoil(x, rows, stride);
  std::vector<float> out(static_cast<std::size_t>(rows * size));
  gated_mlp(context, {.gate_up = x.data(),
                      .gate_up_stride = stride,
                      .num_rows = rows,
                      .size = size,
                      .activation = activation,
                      .out = out.data(),
                      .out_stride = size});
  double worst = 0.0;
  for (std::int64_t i = 0; i < rows * size; ++i) {
    const auto at = static_cast<std::size_t>(i / size * stride + i % size);
    const auto v = static_cast<double>(x[at]);
    const auto up = static_cast<double>(x[at + static_cast<std::size_t>(size)]);
    const double wanted = reference_activation(v, activation) * up;
    // Far on the negative side the result is tiny beside v, and so is what matters of its error.
    const double scale = std::abs(wanted) + 1e-3 * std::abs(v * up);
    worst = std::max(worst, normalised_error(out[static_cast<std::size_t>(i)], wanted, scale));
  }
  return worst;
}

}  // namespace

void add_rowwise_cases(std::vector<ParityCase>& cases) {
  for (const std::int64_t rows : kRowCounts) {
    for (const bool spoiled : {false, true}) {
      const char* fill = spoiled ? "nan+inf" : "plain";
      for (const std::int64_t size : {1, 7, 63, 65, 128, 1024}) {
        for (const std::int64_t groups : {1, 3}) {
          cases.push_back(
              {concat("rmsnorm/rows=", rows, "/groups=", groups, "/size=", size, "/", fill),
               RmsNormKernel::kName, tolerances::kRmsNorm, [=](const CpuContext& context) {
                 return rmsnorm_error(context, rows, groups, size, spoiled);
               }});
        }
        for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
          cases.push_back(
              {concat("gated_mlp/", activation == Activation::silu ? "silu" : "gelu_tanh",
                      "/rows=", rows, "/size=", size, "/", fill),
               GatedMlpKernel::kName, tolerances::kGatedMlp, [=](const CpuContext& context) {
                 return gated_mlp_error(context, rows, size, activation, spoiled);
               }});
        }
      }
      for (const std::int64_t head_dim : {2, 32, 34, 80, 128, 256}) {
        for (const std::int64_t rotary_dim : {head_dim, head_dim / 4 * 2}) {
          cases.push_back({concat("rope/rows=", rows, "/heads=3/head_dim=", head_dim,
                                  "/rotary=", rotary_dim, "/", fill),
                           RopeKernel::kName, tolerances::kRope, [=](const CpuContext& context) {
                             return rope_error(context, rows, 3, head_dim, rotary_dim, spoiled);
                           }});
        }
      }
    }
  }
}

}  // namespace foresight::ops::parity
