"""What every loss and measure asks of its arguments, torch tensors and numpy arrays alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Array: TypeAlias = "torch.Tensor | npt.NDArray[Any]"

REDUCTIONS = ("mean", "sum", "none")


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor; torch is not imported to find out."""
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def require_logits(draft: Array, target: Array) -> None:
    """Raise TypeError unless both are torch tensors or both numpy arrays, of floats; ValueError for unlike positions."""
    for name, value in (("draft_logits", draft), ("target_logits", target)):
        if not is_tensor(value) and not isinstance(value, np.ndarray):
            raise TypeError(f"{name} must be a torch tensor or a numpy array, got {type(value).__name__}")
        if not str(value.dtype).removeprefix("torch.").startswith(("float", "bfloat")):
            raise TypeError(f"{name} must hold floats, got {value.dtype}")
        if value.ndim == 0 or value.shape[-1] == 0:
            raise ValueError(f"{name} must be [..., vocabulary] with a vocabulary, got shape {tuple(value.shape)}")
    if is_tensor(draft) != is_tensor(target):
        raise TypeError(
            f"draft_logits is a {type(draft).__name__} and target_logits a {type(target).__name__}; expected one kind"
        )
    if draft.shape[:-1] != target.shape[:-1]:
        raise ValueError(
            f"draft_logits {tuple(draft.shape)} and target_logits {tuple(target.shape)} must have the same positions"
            " (all dimensions but the last)"
        )


def require_vocabularies(draft: Array, target: Array, draft_to_target: Array | None) -> None:
    """Raise unless the vocabularies are equal, or `draft_to_target` maps one into the other without repetition."""
    size, full = draft.shape[-1], target.shape[-1]
    if draft_to_target is None:
        if size != full:
            raise ValueError(
                f"the draft's vocabulary has {size} tokens and the target's {full}; a reduced vocabulary needs"
                " draft_to_target"
            )
        return
    if is_tensor(draft_to_target) != is_tensor(draft) or not hasattr(draft_to_target, "shape"):
        raise TypeError(f"draft_to_target must be of the logits' kind, got {type(draft_to_target).__name__}")
    if not str(draft_to_target.dtype).removeprefix("torch.").startswith(("int", "uint")):
        raise TypeError(f"draft_to_target must hold token ids (integers), got {draft_to_target.dtype}")
    if tuple(draft_to_target.shape) != (size,):
        raise ValueError(
            f"draft_to_target must hold one target id for each of the draft's {size} tokens,"
            f" got shape {tuple(draft_to_target.shape)}"
        )
    ids = draft_to_target.tolist()
    if min(ids) < 0 or max(ids) >= full:
        raise ValueError(f"draft_to_target must hold ids in 0..{full - 1}, got {min(ids)}..{max(ids)}")
    if len(set(ids)) != size:
        raise ValueError("draft_to_target names a target token twice; its ids must differ")


def require_mask(draft: Array, mask: Array | None) -> None:
    """Raise unless `mask` is None or one bool per position, of the logits' kind."""
    if mask is None:
        return
    if is_tensor(mask) != is_tensor(draft) or not hasattr(mask, "dtype"):
        raise TypeError(f"mask must be of the logits' kind, got {type(mask).__name__}")
    if str(mask.dtype).removeprefix("torch.") != "bool":
        raise TypeError(f"mask must hold bools, got {mask.dtype}")
    if mask.shape != draft.shape[:-1]:
        raise ValueError(f"mask must have the positions' shape {tuple(draft.shape[:-1])}, got {tuple(mask.shape)}")


def require_options(reduction: str, temperature: float) -> None:
    """Raise ValueError for an unknown `reduction`, or a `temperature` that is not a positive finite number."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}")
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
        raise TypeError(f"temperature must be a number, got {type(temperature).__name__}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
