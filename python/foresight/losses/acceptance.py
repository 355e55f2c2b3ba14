"""How much of a draft the target accepts: rates per position, and tokens per round."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from foresight.losses.checks import (
    Array,
    is_tensor,
    require_logits,
    require_mask,
    require_options,
    require_vocabularies,
)

__all__ = ["acceptance_rate", "expected_block_length"]


def acceptance_rate(
    draft_logits: Array,
    target_logits: Array,
    *,
    mask: Array | None = None,
    reduction: str = "mean",
    temperature: float = 1.0,
    draft_to_target: Array | None = None,
) -> Any:
    """The probability that rejection sampling keeps a drafted token: alpha = sum_v min(p_v, q_v) = 1 - TV(p, q).

    p and q are softmax(target_logits / temperature) and softmax(draft_logits / temperature). Torch tensors give a
    tensor, differentiable in both; numpy arrays give an array, or a numpy scalar. Half precision is computed in float32.

    Args:
        draft_logits: [..., draft vocabulary].
        target_logits: [..., target vocabulary], the same positions.
        mask: bool [...], True where a position counts; None counts all.
        reduction: "mean" over the positions that count (0 when none does), "sum", or "none": [...], 0 where none counts.
        temperature: divides both models' logits.
        draft_to_target: int [draft vocabulary], the target's id of each of the draft's tokens (ids, not offsets).
            Target probability outside the draft's vocabulary is never accepted: p is not renormalised.

    Raises TypeError or ValueError for arguments of other kinds or shapes.
    """
    require_logits(draft_logits, target_logits)
    require_vocabularies(draft_logits, target_logits, draft_to_target)
    require_mask(draft_logits, mask)
    require_options(reduction, temperature)
    # Only what counts is computed, so that whatever stands at masked positions cannot turn a gradient into NaN.
    draft = _log_probabilities(draft_logits if mask is None else draft_logits[cast("Any", mask)], temperature)
    target = _log_probabilities(target_logits if mask is None else target_logits[cast("Any", mask)], temperature)
    if draft_to_target is not None:
        target = target[..., draft_to_target]
    if is_tensor(draft):
        import torch

        rates = torch.minimum(draft, target).exp().sum(-1).clamp(max=1)
    else:
        rates = np.minimum(np.exp(np.minimum(draft, target)).sum(-1), 1)
    return reduce_positions(rates, mask, reduction)


def _log_probabilities(logits: Any, temperature: float) -> Any:
    """log softmax(logits / temperature), in float32 or float64."""
    if is_tensor(logits):
        wide = logits.float() if logits.element_size() < 4 else logits
        return (wide / temperature).log_softmax(-1)
    wide = logits.astype(np.float32) if logits.dtype.itemsize < 4 else logits
    scaled = wide / temperature
    if scaled.size == 0:
        return scaled
    shifted = scaled - scaled.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def reduce_positions(values: Any, mask: Any, reduction: str) -> Any:
    """Reduce `values`: those of the positions where `mask` is True, or of all of them.

    "none" gives the mask's shape back, with 0 where it is False; the mean of nothing is 0.
    """
    if reduction == "none":
        if mask is None:
            return values
        full = values.new_zeros(mask.shape) if is_tensor(values) else np.zeros(mask.shape, values.dtype)
        full[mask] = values
        return full
    total = values.sum()
    if reduction == "sum":
        return total
    return total / max(1, int(np.prod(values.shape)))


def expected_block_length(alphas: Any, *, num_draft_tokens: int | None = None) -> Any:
    """The tokens a round of drafting yields on average: 1 + sum_k prod_{i <= k} alpha_i.

    One token always comes from the target; the k-th draft counts when it and all before it are accepted.

    Args:
        alphas: [..., drafts], the rate in [0, 1] at which the i-th draft is accepted once those before it were; or,
            with `num_draft_tokens`, [...]: one rate for all drafts. A torch tensor (the result is differentiable), a
            numpy array, or numbers.
        num_draft_tokens: drafts per round, where `alphas` does not say.

    Returns [...]: between 1 and 1 + drafts. Rates of different rounds are averaged after this function, not before it:
    it is not linear.

    Raises ValueError for rates outside [0, 1] and for a number of drafts below 0.
    """
    rates: Any = alphas if is_tensor(alphas) else np.asarray(alphas, dtype=np.float64)
    if not bool(((rates >= 0) & (rates <= 1)).all()):
        raise ValueError(f"alphas must lie in 0..1, got {alphas!r}")
    if num_draft_tokens is not None:
        if isinstance(num_draft_tokens, bool) or not isinstance(num_draft_tokens, int):
            raise TypeError(f"num_draft_tokens must be an int, got {type(num_draft_tokens).__name__}")
        if num_draft_tokens < 0:
            raise ValueError(f"num_draft_tokens must be 0 or more, got {num_draft_tokens}")
        shape = (*rates.shape, num_draft_tokens)
        rates = rates[..., None].expand(shape) if is_tensor(rates) else np.broadcast_to(rates[..., None], shape)
    elif rates.ndim == 0:
        raise ValueError("alphas must be [..., drafts]; a single rate needs num_draft_tokens")
    return 1 + rates.cumprod(-1).sum(-1)
