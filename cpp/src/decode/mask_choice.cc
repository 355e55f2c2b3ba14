#include "decode/mask_choice.h"

#include <algorithm>

namespace foresight {

MaskChooser::MaskChooser(const PolicyOptions& options)
    : schedule_(option<std::vector<std::int64_t>>(options, "schedule")),
      order_(order_from(options)),
      order_temperature_(option<double>(options, "order_temperature")),
      threshold_(option<double>(options, "threshold")),
      factor_(option<double>(options, "factor")),
      factor_quirk_(option<bool>(options, "factor_quirk")),
      steps_(option<std::int64_t>(options, "steps")),
      epsilon_(option<double>(options, "epsilon")),
      latent_tokens_(option<std::int64_t>(options, "latent_tokens")),
      candidates_(option<std::int64_t>(options, "candidates")) {}

MaskChooser::Order MaskChooser::order_from(const PolicyOptions& options) {
  const auto name = option<std::string>(options, "order");
  if (name == "confidence") return Order::confidence;
  if (name == "random") return Order::random;
  if (name == "left_to_right") return Order::left_to_right;
  if (name == "independent") return Order::independent;
  throw ValueError(concat("policy option order '", name, "' is not known"));
}

MaskChoice MaskChooser::choose(const BranchView& view, Window window, std::uint32_t step) const {
  const std::vector<std::int32_t> masks = masked_positions(view, window);
  MaskChoice choice{.step = step, .latents = {}, .candidates = {}};
  const std::size_t quota = quota_of(step, masks.size());
  switch (order_) {
    case Order::independent:
      choice = toss(view, step, masks);
      break;
    case Order::left_to_right:
      choice.candidates.assign(masks.begin(), masks.begin() + static_cast<std::ptrdiff_t>(quota));
      break;
    case Order::random:
    case Order::confidence: {
      const std::size_t count =
          order_ == Order::random ? quota : num_candidates(masks.size(), quota);
      if (count == masks.size() && sees_everything(view)) {
        choice.candidates = masks;
        break;
      }
      const std::vector<std::int32_t> order = random_order(view.key, step, masks);
      choice.candidates.assign(order.end() - static_cast<std::ptrdiff_t>(count), order.end());
      break;
    }
  }
  if (!sees_everything(view)) choice.latents = draw_latents(view, choice);
  return choice;
}

std::size_t MaskChooser::quota_of(std::uint32_t step, std::size_t num_masks) const {
  const bool scheduled = static_cast<std::size_t>(step) < schedule_.size();
  const std::size_t quota = scheduled ? static_cast<std::size_t>(schedule_[step]) : num_masks;
  return std::min(quota, num_masks);
}

std::size_t MaskChooser::num_candidates(std::size_t num_masks, std::size_t quota) const {
  if (candidates_ > 0)
    return std::min(num_masks, std::max(quota, static_cast<std::size_t>(candidates_)));
  const auto latents = static_cast<std::size_t>(std::max<std::int64_t>(latent_tokens_, 0));
  return num_masks - std::min(latents, num_masks - quota);
}

std::vector<std::int32_t> MaskChooser::draw_latents(const BranchView& view,
                                                    const MaskChoice& choice) const {
  std::vector<std::int32_t> others = masked_positions(view, {0, std::ssize(view.tokens)});
  std::erase_if(others, [&](std::int32_t position) {
    return std::find(choice.candidates.begin(), choice.candidates.end(), position) !=
           choice.candidates.end();
  });
  others = random_order(view.key, choice.step, std::move(others));
  if (latent_tokens_ >= 0 && latent_tokens_ < std::ssize(others))
    others.resize(static_cast<std::size_t>(latent_tokens_));
  return others;
}

// Every mask tosses its own coin; steps in which all fall on the wrong side need no forward.
MaskChoice MaskChooser::toss(const BranchView& view, std::uint32_t step,
                             const std::vector<std::int32_t>& masks) const {
  MaskChoice choice{.step = step, .latents = {}, .candidates = {}};
  const auto last = static_cast<std::uint32_t>(steps_ - 1);
  for (;; ++choice.step) {
    if (choice.step >= last) {
      choice.candidates = masks;
      return choice;
    }
    const auto time = [&](std::uint32_t at) {
      return 1.0 - (1.0 - epsilon_) * static_cast<double>(at) / static_cast<double>(steps_);
    };
    const double chance = 1.0 - time(choice.step + 1) / time(choice.step);
    for (const std::int32_t position : masks) {
      if (order_uniform(view.key, position, choice.step) < chance)
        choice.candidates.push_back(position);
    }
    if (!choice.candidates.empty()) return choice;
  }
}

std::vector<Proposal> MaskChooser::accept(const BranchView& view, std::uint32_t step,
                                          std::vector<Proposal> proposals) const {
  if (order_ != Order::confidence) return proposals;
  const std::size_t quota = quota_of(step, proposals.size());
  if (order_temperature_ > 0.0) perturb(proposals, order_temperature_, view.key, step);
  sort_by_confidence(proposals);
  std::size_t count = quota;
  if (threshold_ > 0.0) count = std::max(quota, count_by_threshold(proposals, threshold_));
  if (factor_ > 0.0) count = std::max(quota, count_by_factor(proposals, factor_, factor_quirk_));
  proposals.resize(count);
  return proposals;
}

}  // namespace foresight
