"""What draft models are trained on and measured by: LK losses, acceptance rates, expected block lengths.

The losses need torch, which is imported when the first one is used; the measures take numpy arrays as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.losses.acceptance import acceptance_rate, expected_block_length

if TYPE_CHECKING:
    from foresight.losses.lk import lk_alpha, lk_hybrid, lk_lambda

__all__ = ["acceptance_rate", "expected_block_length", "lk_alpha", "lk_hybrid", "lk_lambda"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'foresight.losses' has no attribute {name!r}")
    from foresight.losses import lk

    value = getattr(lk, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
