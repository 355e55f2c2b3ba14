"""Seeds of a call and of its prompts. A sequence depends on its own seed and prompt, never on its batch."""

from __future__ import annotations

import operator
import secrets
from typing import Any

from foresight._core import prompt_seed

__all__ = ["parse_seed"]

_WORD = 2**64


def parse_seed(seed: Any, num_prompts: int) -> tuple[int | list[int], list[int]]:
    """The seed to report and the seed of each prompt.

    seed: None (a fresh one), an int, or a list with one per prompt; each from 0 to 2**64 - 1.
    """
    if isinstance(seed, (list, tuple)):
        if len(seed) != num_prompts:
            raise ValueError(f"seed lists {len(seed)} seeds for {num_prompts} prompts")
        seeds = [_word(item) for item in seed]
        return seeds, seeds
    call_seed = secrets.randbits(63) if seed is None else _word(seed)
    return call_seed, [prompt_seed(call_seed, i) for i in range(num_prompts)]


def _word(seed: Any) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"seed is {seed!r}, expected None, an integer or a list of integers")
    value = operator.index(seed)
    if not 0 <= value < _WORD:
        raise ValueError(f"seed is {value}, expected 0 to 2**64 - 1")
    return value
