// Truncation by probability alone; the best tokens always stay.
//   min_p   below min_p times the highest probability (Nguyen et al., "Turning up the heat", 2024)
//   epsilon below a constant (Hewitt et al., "Truncation sampling as desmoothing", 2022)
//   eta     below min(eta, sqrt(eta) exp(-entropy)) (the same)
#include <algorithm>
#include <cmath>

#include "sample/processors/checks.h"
#include "sample/processors/factories.h"
#include "sample/row_math.h"

namespace foresight {
namespace {

// Forbids tokens whose probability, rounded to float32, is below `cutoff`.
void forbid_unlikely(std::span<float> scores, const Softmax& softmax, float cutoff) {
  if (!(cutoff > 0.0f)) return;
  // A score decides by itself except near the cutoff, where the probability is worked out.
  const double edge = softmax.log_sum_exp() + std::log(static_cast<double>(cutoff));
  const auto clearly_below = static_cast<float>(edge - kLogSlack);
  const auto clearly_above = static_cast<float>(edge + kLogSlack);
  forbid_below(scores, std::min(clearly_below, softmax.max));
  for (float& score : scores) {
    if (score > kForbidden && score <= clearly_above && score < softmax.max &&
        static_cast<float>(softmax.probability(score)) < cutoff) {
      score = kForbidden;
    }
  }
}

class MinP final : public LogitsProcessor {
 public:
  MinP(const CpuContext& context, double min_p)
      : context_(context), min_p_(static_cast<float>(min_p)) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    const auto softmax = softmax_of(context_, scores);
    if (!softmax) return;
    forbid_unlikely(scores, *softmax, min_p_ * static_cast<float>(1.0 / softmax->sum));
  }

 private:
  CpuContext context_;
  float min_p_;
};

class EpsilonCutoff final : public LogitsProcessor {
 public:
  EpsilonCutoff(const CpuContext& context, double epsilon)
      : context_(context), epsilon_(static_cast<float>(epsilon)) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    const auto softmax = softmax_of(context_, scores);
    if (softmax) forbid_unlikely(scores, *softmax, epsilon_);
  }

 private:
  CpuContext context_;
  float epsilon_;
};

class EtaCutoff final : public LogitsProcessor {
 public:
  EtaCutoff(const CpuContext& context, double eta)
      : context_(context), eta_(static_cast<float>(eta)) {}

  bool truncates() const override { return true; }
  void apply(const ScoreContext&, std::span<float> scores) const override {
    const auto softmax = softmax_of(context_, scores);
    if (!softmax) return;
    const auto entropy = static_cast<float>(entropy_of(context_, scores, *softmax));
    forbid_unlikely(scores, *softmax, std::min(eta_, std::sqrt(eta_) * std::exp(-entropy)));
  }

 private:
  CpuContext context_;
  float eta_;
};

}  // namespace

Processor make_min_p(const CpuContext& context, double min_p) {
  check_range(min_p >= 0.0 && min_p <= 1.0, "min_p", min_p, "a number from 0 to 1");
  return std::make_shared<MinP>(context, min_p);
}

Processor make_epsilon_cutoff(const CpuContext& context, double epsilon_cutoff) {
  check_range(epsilon_cutoff >= 0.0 && epsilon_cutoff < 1.0, "epsilon_cutoff", epsilon_cutoff,
              "a number of at least 0 (0: off) and below 1");
  return std::make_shared<EpsilonCutoff>(context, epsilon_cutoff);
}

Processor make_eta_cutoff(const CpuContext& context, double eta_cutoff) {
  check_range(eta_cutoff >= 0.0 && eta_cutoff < 1.0, "eta_cutoff", eta_cutoff,
              "a number of at least 0 (0: off) and below 1");
  return std::make_shared<EtaCutoff>(context, eta_cutoff);
}

}  // namespace foresight
