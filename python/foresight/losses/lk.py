"""LK losses: train a draft model on the rate at which the target accepts its tokens.

After "LK losses" (arXiv 2602.23881). With target p, draft q and alpha = sum_v min(p_v, q_v) = 1 - TV(p, q):

    lk_alpha    -log alpha                                     gradient (1 / alpha) grad TV
    lk_lambda   lam KL(p || q) + (1 - lam) (1 - alpha)         lam = exp(-eta alpha), per position
    lk_hybrid   the same, with one lam = exp(-eta mean alpha) for the batch

1 - alpha alone is what counts, but its gradient vanishes where the overlap is small, as at the start. -log alpha scales
it up there; the other two lean on KL while alpha is low and on 1 - alpha once it is high. Published drafters
used eta = 3, Medusa heads 10. No gradient flows through lam or the target.

All three take and return the same:

    draft_logits: [..., draft vocabulary], floats; the gradient flows to them.
    target_logits: [..., target vocabulary], the same positions; a constant.
    mask: bool [...], True where a position counts; None counts all.
    reduction: "mean" over the positions that count (0 when none does), "sum", or "none": [...], 0 where none counts.
    temperature: divides both models' logits.
    draft_to_target: int [draft vocabulary], the target's id of each of the draft's tokens (ids, not offsets). alpha does
        not renormalise p: what lies outside the draft's vocabulary can never be accepted. KL is against p
        renormalised over that vocabulary; where p has nothing there, it counts as 0.
    eta (not lk_alpha): how soon KL gives way to 1 - alpha as alpha rises; 0 is KL alone. Not negative.

They give a scalar, or [...] for "none", in float32 (float64 for float64 logits), and raise TypeError or ValueError for
arguments of other kinds or shapes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from foresight.losses.acceptance import reduce_positions
from foresight.losses.checks import is_tensor, require_logits, require_mask, require_options, require_vocabularies

__all__ = ["lk_alpha", "lk_hybrid", "lk_lambda"]

# Log-probabilities are not taken below this, so that losses stay finite where a logit is -inf. It is far below what
# softmax gives for logits that any model computes: there, and only there, the gradient is cut.
_FLOOR = -1e4


def lk_alpha(
    draft_logits: Tensor,
    target_logits: Tensor,
    *,
    mask: Tensor | None = None,
    reduction: str = "mean",
    temperature: float = 1.0,
    draft_to_target: Tensor | None = None,
) -> Tensor:
    """-log alpha, alpha = sum_v min(p_v, q_v): the negative log-likelihood of acceptance (arXiv 2602.23881).

    Where p puts everything on one token this is cross-entropy. The sum is a log-sum-exp of min(log p, log q), so nothing
    underflows when the two hardly overlap; log-probabilities are floored at -1e4, so that the loss is finite
    even where they do not overlap at all (its gradient is 0 there). Arguments: see `foresight.losses.lk`.
    """
    log_q, log_p = _log_probabilities(draft_logits, target_logits, mask, reduction, temperature, draft_to_target)
    return _reduced(-_log_alpha(log_q, log_p), mask, reduction)


def lk_lambda(
    draft_logits: Tensor,
    target_logits: Tensor,
    *,
    eta: float = 3.0,
    mask: Tensor | None = None,
    reduction: str = "mean",
    temperature: float = 1.0,
    draft_to_target: Tensor | None = None,
) -> Tensor:
    """lam KL(p || q) + (1 - lam) (1 - alpha), lam = exp(-eta alpha) at each position (arXiv 2602.23881).

    lam per position, rather than per batch, makes the loss a plain sum over positions: it can be split over micro-batches.
    Arguments: see `foresight.losses.lk`.
    """
    kl, alpha = _kl_and_alpha(draft_logits, target_logits, eta, mask, reduction, temperature, draft_to_target)
    return _reduced(_mixed(kl, alpha, alpha, eta), mask, reduction)


def lk_hybrid(
    draft_logits: Tensor,
    target_logits: Tensor,
    *,
    eta: float = 3.0,
    mask: Tensor | None = None,
    reduction: str = "mean",
    temperature: float = 1.0,
    draft_to_target: Tensor | None = None,
) -> Tensor:
    """lam KL(p || q) + (1 - lam) (1 - alpha), one lam = exp(-eta mean alpha) for all positions that count.

    The reading of arXiv 2602.23881 that sgl-project/SpecForge trains with (core/lk_loss.py, its kl_decay being eta and
    its kl_scale 1), where `lk_lambda` is that of vllm-project/speculators. The mean is of this call's positions, so
    splitting a batch changes the loss; "none" gives each position's share under the common lam. Arguments: see `foresight.losses.lk`.
    """
    kl, alpha = _kl_and_alpha(draft_logits, target_logits, eta, mask, reduction, temperature, draft_to_target)
    common = alpha.mean() if alpha.numel() else alpha.sum()
    return _reduced(_mixed(kl, alpha, common, eta), mask, reduction)


def _log_probabilities(
    draft: Any, target: Any, mask: Any, reduction: str, temperature: float, draft_to_target: Any
) -> tuple[Tensor, Tensor]:
    """log q and log p over the draft's vocabulary, [counting positions (or ...), draft vocabulary]; p as it is."""
    for name, value in (("draft_logits", draft), ("target_logits", target)):
        if not is_tensor(value):
            raise TypeError(f"{name} must be a torch tensor, got {type(value).__name__}")
    require_logits(draft, target)
    require_vocabularies(draft, target, draft_to_target)
    require_mask(draft, mask)
    require_options(reduction, temperature)
    target = target.detach()
    if mask is not None:
        # Only what counts is computed, so that whatever stands at masked positions cannot turn a gradient into NaN.
        draft, target = draft[mask], target[mask]
    dtype = torch.promote_types(torch.promote_types(draft.dtype, target.dtype), torch.float32)
    log_q = (draft.to(dtype) / temperature).log_softmax(-1).clamp(min=_FLOOR)
    log_p = (target.to(dtype) / temperature).log_softmax(-1)
    if draft_to_target is not None:
        log_p = log_p[..., draft_to_target]
    return log_q, log_p


def _log_alpha(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Log of the overlap, [...]."""
    return torch.minimum(log_q, log_p.clamp(min=_FLOOR)).logsumexp(-1)


def _kl_and_alpha(
    draft: Tensor,
    target: Tensor,
    eta: float,
    mask: Tensor | None,
    reduction: str,
    temperature: float,
    draft_to_target: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """KL(p || q) with p renormalised over the draft's vocabulary, and alpha with p as it is; [...] each."""
    if isinstance(eta, bool) or not isinstance(eta, (int, float)):
        raise TypeError(f"eta must be a number, got {type(eta).__name__}")
    if not 0 <= eta < math.inf:
        raise ValueError(f"eta must be 0 or more and finite, got {eta}")
    log_q, log_p = _log_probabilities(draft, target, mask, reduction, temperature, draft_to_target)
    alpha = _log_alpha(log_q, log_p).exp()
    if draft_to_target is not None:
        # The floor leaves p at 0, not NaN, where it has nothing to renormalise.
        log_p = log_p - log_p.logsumexp(-1, keepdim=True).clamp(min=_FLOOR)
    p = log_p.exp()
    # Chosen before the product: a product that is thrown away afterwards would still put its NaN into the gradient.
    kl = (p * (torch.where(p > 0, log_p, 0.0) - log_q)).sum(-1)
    return kl, alpha


def _mixed(kl: Tensor, alpha: Tensor, weighed_by: Tensor, eta: float) -> Tensor:
    lam = torch.exp(-eta * weighed_by.detach())
    return lam * kl + (1 - lam) * (1 - alpha)


def _reduced(values: Tensor, mask: Tensor | None, reduction: str) -> Tensor:
    result: Tensor = reduce_positions(values, mask, reduction)
    return result
