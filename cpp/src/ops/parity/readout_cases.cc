#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/tolerances.h"
#include "ops/parity/cases.h"
#include "ops/readout.h"

namespace foresight::ops::parity {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Fill { plain, ties, nans, infinities, nothing_but_nan };

constexpr const char* name_of_fill(Fill fill) {
  switch (fill) {
    case Fill::plain:
      return "plain";
    case Fill::ties:
      return "ties";
    case Fill::nans:
      return "nan";
    case Fill::infinities:
      return "inf";
    case Fill::nothing_but_nan:
      return "only nan";
  }
  return "?";
}

std::vector<float> logits(std::int64_t size, Fill fill) {
  std::vector<float> row = random_values(1, size, 30.0f);
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (fill == Fill::ties) row[i] = std::round(row[i] / 20.0f);
    if (fill == Fill::nans && i % 3 == 0) row[i] = kNan;
    if (fill == Fill::infinities && i % 5 != 4) row[i] = -kInfinity;
    if (fill == Fill::nothing_but_nan) row[i] = kNan;
  }
  return row;
}

double argmax_error(const CpuContext& context, std::int64_t size, Fill fill) {
  const std::vector<float> row = logits(size, fill);
  const MaxEntry got = argmax(context, row.data(), size);
  std::int64_t wanted = -1;
  for (std::int64_t i = 0; i < size; ++i) {
    const float value = row[static_cast<std::size_t>(i)];
    if (!std::isnan(value) && (wanted < 0 || value > row[static_cast<std::size_t>(wanted)]))
      wanted = i;
  }
  const float value =
      wanted < 0 ? (size > 0 ? row[0] : -kInfinity) : row[static_cast<std::size_t>(wanted)];
  const bool same_value = got.value == value || (std::isnan(got.value) && std::isnan(value));
  return got.index == std::max<std::int64_t>(wanted, 0) && same_value
             ? 0.0
             : std::numeric_limits<double>::infinity();
}

double exp_sum_error(const CpuContext& context, std::int64_t size, Fill fill) {
  const std::vector<float> row = logits(size, fill);
  std::vector<float> out(row.size());
  const float shift = 7.5f;
  const double got = exp_sum(context, row.data(), size, shift, out.data());
  if (exp_sum(context, row.data(), size, shift) != got && !std::isnan(got)) return kInfinity;
  double wanted = 0.0;
  double worst = 0.0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double value = std::exp(static_cast<double>(row[i] - shift));
    wanted += value;
    worst = std::max(worst, normalised_error(out[i], value, value));
  }
  return std::max(worst, normalised_error(static_cast<float>(got), wanted, wanted));
}

}  // namespace

void add_readout_cases(std::vector<ParityCase>& cases) {
  for (const std::int64_t size : {0, 1, 7, 63, 65, 1000, 5003}) {
    for (const Fill fill :
         {Fill::plain, Fill::ties, Fill::nans, Fill::infinities, Fill::nothing_but_nan}) {
      const std::string tail = concat("/size=", size, "/", name_of_fill(fill));
      cases.push_back(
          {concat("argmax", tail), ArgmaxKernel::kName, tolerances::kExact,
           [=](const CpuContext& context) { return argmax_error(context, size, fill); }});
      cases.push_back(
          {concat("exp_sum", tail), ExpSumKernel::kName, tolerances::kExpSum,
           [=](const CpuContext& context) { return exp_sum_error(context, size, fill); }});
    }
  }
}

}  // namespace foresight::ops::parity
