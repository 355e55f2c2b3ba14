// Which masks of a canvas a forward holds and may decide, and which of their proposals it keeps:
// the orders, schedules and commit rules of masked diffusion.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/canvas.h"
#include "decode/options.h"

namespace foresight {

// The masks of one step. Rows of latents come before those of candidates.
struct MaskChoice {
  std::uint32_t step = 0;
  std::vector<std::int32_t> latents;
  std::vector<std::int32_t> candidates;
};

class MaskChooser {
 public:
  // Takes schedule, order, order_temperature, threshold, factor, factor_quirk, steps, epsilon,
  // latent_tokens and candidates of the policy's options.
  explicit MaskChooser(const PolicyOptions& options);

  // Of the masks in `window`, for step number `step` or, where coins are tossed, the first from it
  // on that decides something. Latents are drawn from all other masks of the canvas.
  MaskChoice choose(const BranchView& view, Window window, std::uint32_t step) const;

  // The proposals that a step commits; one by one with the plan's asking rows and their answers.
  std::vector<Proposal> accept(const BranchView& view, std::uint32_t step,
                               std::vector<Proposal> proposals) const;

  // Every mask is in the forward and sees every other.
  bool sees_everything(const BranchView& view) const {
    return view.model.attention == AttentionKind::full && latent_tokens_ < 0;
  }
  std::size_t num_steps() const { return schedule_.size(); }

 private:
  enum class Order : std::uint8_t { confidence, random, left_to_right, independent };
  static Order order_from(const PolicyOptions& options);

  std::size_t quota_of(std::uint32_t step, std::size_t num_masks) const;
  std::size_t num_candidates(std::size_t num_masks, std::size_t quota) const;
  std::vector<std::int32_t> draw_latents(const BranchView& view, const MaskChoice& choice) const;
  MaskChoice toss(const BranchView& view, std::uint32_t step,
                  const std::vector<std::int32_t>& masks) const;

  std::vector<std::int64_t> schedule_;
  Order order_;
  double order_temperature_;
  double threshold_;
  double factor_;
  bool factor_quirk_;
  std::int64_t steps_;
  double epsilon_;
  std::int64_t latent_tokens_;
  std::int64_t candidates_;
};

}  // namespace foresight
