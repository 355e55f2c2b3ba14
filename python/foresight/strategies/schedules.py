"""How many masks each forward decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["even_schedule", "time_schedule"]


def even_schedule(num_masks: int, steps: int) -> list[int]:
    """Masks spread evenly over the steps, the remainder over the first of them (LLaDA's generate.py and
    the semi-causal sampler). Steps without a mask to decide are left out: they would change nothing.
    """
    share, rest = divmod(num_masks, steps)
    return [count for count in (share + (i < rest) for i in range(steps)) if count]


def time_schedule(num_masks: float, steps: int, epsilon: float = 1e-3) -> list[int]:
    """Dream's: with times t falling linearly from 1 to epsilon, step i decides the share 1 - t[i + 1] / t[i]
    of what is still masked, rounded down, and the last step everything. In float32, as the published
    code computes it, since rounding down turns the last bit into a token. Steps that decide nothing are
    left out.

    num_masks: may be the mean of a batch, which the published code takes.
    """
    times = _linspace(1.0, epsilon, steps + 1)
    left = np.float32(num_masks)
    schedule = []
    for i in range(steps):
        share = np.float32(1.0) - times[i + 1] / times[i] if i < steps - 1 else np.float32(1.0)
        count = int(left * share)
        left = np.float32(left - np.float32(count))
        schedule.append(count)
    return [count for count in schedule if count]


def _linspace(start: float, end: float, count: int) -> npt.NDArray[np.float32]:
    """torch.linspace in float32: the first half from the start, the second half back from the end."""
    first, last = np.float32(start), np.float32(end)
    if count == 1:
        return np.array([first])
    step = np.float32((last - first) / np.float32(count - 1))
    indices = np.arange(count)
    forward = first + step * indices.astype(np.float32)
    backward = last - step * (count - 1 - indices).astype(np.float32)
    times: npt.NDArray[np.float32] = np.where(indices < count // 2, forward, backward).astype(np.float32)
    return times
