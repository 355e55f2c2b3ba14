"""fs.LatentAutoregressive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.strategies.base import Batch, Strategy, able, check_count

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["LatentAutoregressiveStrategy"]


class LatentAutoregressiveStrategy(Strategy):
    """Needs a mask token, and full or causal attention: a causal prefix is cached."""

    policy = "latent_autoregressive"

    def __init__(self, decoding: Any, config: ModelConfig) -> None:
        check_count(decoding, "window", decoding.window)
        if decoding.window is None:
            raise ValueError("LatentAutoregressive: window is None, expected an integer of at least 1")
        if config.mask_token_id is None or config.attention not in ("full", "causal"):
            raise ValueError(f"fs.LatentAutoregressive needs a mask token and full or causal attention; {able(config)}")
        super().__init__(decoding, config)

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        if batch.is_infilling(prompt):
            raise ValueError(
                f"prompt {prompt} holds the mask token {self.config.mask_token_id}: fs.LatentAutoregressive only"
                " continues prompts; fs.MaskedDiffusion fills masks in place"
            )
        return {"window": int(self.decoding.window)}

    def suppressed_tokens(self, batch: Batch) -> list[int]:
        del batch
        assert self.config.mask_token_id is not None
        return [self.config.mask_token_id]
