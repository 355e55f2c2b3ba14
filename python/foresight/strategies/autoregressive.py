"""fs.Autoregressive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.strategies.base import Batch, Strategy, able

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["AutoregressiveStrategy"]


class AutoregressiveStrategy(Strategy):
    """Needs causal attention and a row that predicts what follows it."""

    policy = "autoregressive"

    def __init__(self, decoding: Any, config: ModelConfig) -> None:
        if config.attention != "causal" or not config.shifted:
            raise ValueError(f"fs.Autoregressive needs a causal model that predicts the next token; {able(config)}")
        super().__init__(decoding, config)

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        del batch, prompt
        return {}
