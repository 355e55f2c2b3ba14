// What changes each score by itself, or all alike: remove_invalid_values, temperature and
// renormalize_logits.
#include <cmath>
#include <limits>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

class RemoveInvalidValues final : public LogitsProcessor {
 public:
  void apply(const ScoreContext&, std::span<float> scores) const override {
    constexpr float kHighest = std::numeric_limits<float>::max();
    for (float& score : scores) {
      score = std::isnan(score) ? 0.0f : std::fmin(std::fmax(score, -kHighest), kHighest);
    }
  }
};

class Temperature final : public LogitsProcessor {
 public:
  explicit Temperature(double temperature) : temperature_(static_cast<float>(temperature)) {}

  void apply(const ScoreContext&, std::span<float> scores) const override {
    change_each(scores, [divisor = temperature_](float score) { return score / divisor; });
  }

 private:
  float temperature_;
};

class Renormalize final : public LogitsProcessor {
 public:
  explicit Renormalize(const CpuContext& context) : context_(context) {}

  void apply(const ScoreContext&, std::span<float> scores) const override {
    const auto softmax = softmax_of(context_, scores);
    if (!softmax) return;
    const double log_sum_exp = softmax->log_sum_exp();
    change_each(scores, [log_sum_exp](float score) {
      return static_cast<float>(static_cast<double>(score) - log_sum_exp);
    });
  }

 private:
  CpuContext context_;
};

}  // namespace

Processor make_remove_invalid_values() { return std::make_shared<RemoveInvalidValues>(); }

Processor make_temperature(double temperature) {
  check_range(temperature > 0.0, "temperature", temperature,
              "a number above 0; for greedy decoding set do_sample=False");
  return std::make_shared<Temperature>(temperature);
}

Processor make_renormalize(const CpuContext& context) {
  return std::make_shared<Renormalize>(context);
}

}  // namespace foresight
