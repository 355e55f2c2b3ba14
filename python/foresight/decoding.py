"""How one sequence is written: the objects that `decoding=` takes. Plain data, no logic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Autoregressive", "Decoding"]


@dataclass(frozen=True)
class Decoding:
    """The base of all strategies.

    reference: the procedure whose tokens, or law, the strategy has when it is exact.
    policy: the core's name for it.
    """

    reference: ClassVar[str] = ""
    policy: ClassVar[str] = ""

    def options(self) -> dict[str, Any]:
        """What the core's policy is told."""
        return {}

    @property
    def approximations(self) -> tuple[str, ...]:
        """The options that leave the reference's law; empty for an exact strategy."""
        return ()


@dataclass(frozen=True)
class Autoregressive(Decoding):
    """One token per forward, from left to right. Exact: it is the reference of the other strategies."""

    reference: ClassVar[str] = "token by token from the model's own distribution"
    policy: ClassVar[str] = "autoregressive"
