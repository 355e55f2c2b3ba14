"""The settings that benchmarks/diffusion.py compares, and what one run of a sampler reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

MASK = 151669


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    decoding: fields of fs.MaskedDiffusion ("full") or fs.BlockDiffusion ("block_causal"); references: the
    samplers of sampler_reference.py beside it; expected: reference -> how many times as fast is expected.
    """

    name: str
    attention: str
    block_length: int
    steps: int
    decoding: dict[str, Any]
    references: tuple[str, ...]
    exact: bool = True
    expected: dict[str, float] = field(default_factory=dict)


class Report(TypedDict):
    """Of one run. model_seconds: inside the forwards alone, None: not told apart."""

    seconds: float
    model_seconds: float | None
    forwards: int
    rows: int
    new_tokens: list[int]


NO_CACHE = "reference without a cache"
BLOCK_CACHE = "reference with its block cache"


def settings(new: int, full_steps: int, block: int, dual_steps: int, dual_block: int) -> list[Setting]:
    """New tokens, steps of the full canvas, the model's blocks, steps and blocks of the dual cache."""
    return [
        Setting(
            f"full attention, exact, one block, {full_steps} steps",
            "full",
            new,
            full_steps,
            {"order": "confidence"},
            (NO_CACHE,),
            expected={NO_CACHE: 1.5},
        ),
        Setting(
            f"block-causal, blocks of {block}, exact block cache, dynamic rule",
            "block_causal",
            block,
            block,
            {"order": "dynamic", "threshold": 0.85},
            (NO_CACHE, BLOCK_CACHE),
            expected={NO_CACHE: 3.0},
        ),
        Setting(
            f"full attention, dual cache, blocks of {dual_block}, {dual_steps} steps",
            "full",
            dual_block,
            dual_steps,
            {"order": "confidence", "cache": "dual"},
            (NO_CACHE,),
            exact=False,
            expected={NO_CACHE: 8.0},
        ),
    ]
