// One branch that ends as soon as it is sure of its answer, or hopeless (Conformal Thinking,
// 2602.03814): a signal is read at each probe and smoothed; above the upper threshold the probed
// answer stands, below the lower one the request ends without an answer. The lower threshold is a
// schedule, base + (upper - base) * sigmoid(slope * (tokens - shift * budget)): the branch must
// earn its further tokens.
#include <algorithm>
#include <cmath>
#include <span>

#include "control/controllers.h"
#include "control/option_checks.h"
#include "core/error.h"

namespace foresight {

namespace {

class ThresholdStop final : public Controller {
 public:
  explicit ThresholdStop(const Options& options)
      : signal_(signal_named(option<std::string>(options, "signal"))),
        interval_(count_option(options, "interval")),
        window_(count_option(options, "window")),
        group_(count_option(options, "group")),
        smoothing_(share_option(options, "smoothing", false)),
        warmup_(count_option(options, "warmup", 0)),
        upper_(finite_option(options, "upper")),
        gives_up_(option<bool>(options, "gives_up")),
        base_(finite_option(options, "base")),
        slope_(finite_option(options, "slope")),
        shift_(finite_option(options, "shift")),
        budget_(count_option(options, "budget")) {}

  Needs needs() const override {
    return {.probe_interval = interval_,
            .confidence = signal_ == Signal::confidence,
            .confidence_group = group_};
  }

  void on_start(const BranchesView&, Actions& actions) override { actions.start(1); }

  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    const BranchRecord& record = view[branch];
    const double value =
        signal_ == Signal::confidence ? record.confidence : stable_share(record.probes);
    if (std::isnan(value)) return;  // not known yet
    smoothed_ = has_value_ ? smoothing_ * value + (1.0 - smoothing_) * smoothed_ : value;
    has_value_ = true;
    if (record.num_tokens < warmup_) return;
    if (smoothed_ >= upper_ && record.answer != kNoAnswer) {
      actions.stop(record.answer, concat("signal ", smoothed_, " reached ", upper_));
    } else if (gives_up_ && smoothed_ <= lower(record.num_tokens)) {
      has_given_up_ = true;
      actions.stop(kNoAnswer, concat("signal ", smoothed_, " fell to ", lower(record.num_tokens)));
    }
  }

  std::vector<Vote> votes(const BranchesView& view) const override {
    return has_given_up_ ? std::vector<Vote>() : Controller::votes(view);
  }

 private:
  enum class Signal : std::uint8_t { stability, confidence };

  static Signal signal_named(const std::string& name) {
    if (name == "stability") return Signal::stability;
    if (name == "confidence") return Signal::confidence;
    throw ValueError(
        concat("option 'signal' is '", name, "', expected 'stability' or 'confidence'"));
  }

  static double finite_option(const Options& options, const std::string& name) {
    const auto value = option<double>(options, name);
    if (!std::isfinite(value))
      throw ValueError(concat("option '", name, "' is ", value, ", expected a finite number"));
    return value;
  }

  // The share of the last `window` probes that gave the answer of the last one; probes that have
  // not been made yet count as disagreement, and so does a last one without an answer.
  double stable_share(std::span<const ProbeReading> probes) const {
    if (probes.empty() || probes.back().answer == kNoAnswer) return 0.0;
    const std::size_t known = std::min(probes.size(), static_cast<std::size_t>(window_));
    std::int64_t equal = 0;
    for (const ProbeReading& probe : probes.last(known)) {
      if (probe.answer == probes.back().answer) ++equal;
    }
    return static_cast<double>(equal) / static_cast<double>(window_);
  }

  double lower(std::int64_t num_tokens) const {
    const double past =
        slope_ * (static_cast<double>(num_tokens) - shift_ * static_cast<double>(budget_));
    return base_ + (upper_ - base_) / (1.0 + std::exp(-past));
  }

  Signal signal_;
  std::int64_t interval_;
  std::int64_t window_;  // probes
  std::int64_t group_;   // tokens
  double smoothing_;     // weight of the newest value
  std::int64_t warmup_;
  double upper_;
  bool gives_up_;
  double base_;
  double slope_;
  double shift_;
  std::int64_t budget_;  // tokens
  bool has_value_ = false;
  bool has_given_up_ = false;
  double smoothed_ = 0.0;
};

}  // namespace

std::unique_ptr<Controller> make_threshold_stop(const Options& options) {
  return std::make_unique<ThresholdStop>(options);
}

}  // namespace foresight
