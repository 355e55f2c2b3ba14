"""A strategy of the user's own, made by @fs.policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.strategies.base import Batch, Strategy

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["UserStrategy"]


class UserStrategy(Strategy):
    """It appends tokens; of its law nothing is known."""

    def __init__(self, decoding: Any, config: ModelConfig) -> None:
        super().__init__(decoding, config)
        self.policy = decoding

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        del batch, prompt
        return {}

    @property
    def approximations(self) -> tuple[str, ...]:
        return (f"policy={getattr(self.decoding.function, '__name__', 'user')}",)
