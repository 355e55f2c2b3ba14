"""fs.Strided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.strategies.base import Batch, Strategy, able

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig
    from foresight.decoding import Strided

__all__ = ["MAX_STRIDE", "StridedStrategy"]

MAX_STRIDE = 8

# What a further row adds to a forward of one, as a share of it: benchmarks/results/row_engine.json,
# 40.5 ms for 1 row, 62.7 ms for 8 and 284 ms for 64 rows after a context of 512, so 0.08 to 0.10.
_ROW_COST = 0.09


class StridedStrategy(Strategy):
    """Needs causal attention, a row that predicts what follows it, and a mask token."""

    policy = "strided"

    def __init__(self, decoding: Strided, config: ModelConfig) -> None:
        stride = decoding.stride
        whole = hasattr(stride, "__index__") and not isinstance(stride, bool)
        if stride is not None and not (whole and 2 <= stride <= MAX_STRIDE):
            raise ValueError(
                f"Strided: stride is {stride!r}, expected an integer from 2 to {MAX_STRIDE}, or None for one that"
                " follows the acceptance"
            )
        if not isinstance(decoding.exact, bool):
            raise ValueError(f"Strided: exact is {decoding.exact!r}, expected True or False")
        if config.attention != "causal" or not config.shifted or config.mask_token_id is None:
            raise ValueError(
                "fs.Strided needs a causal model that predicts the next token and has a mask token from which it was"
                f" trained to predict further ones (I-DLM); {able(config)}"
            )
        super().__init__(decoding, config)
        widest = MAX_STRIDE if stride is None else stride
        self.spare_slots = widest * widest if decoding.exact else 2 * widest

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        if batch.is_infilling(prompt):
            raise ValueError(
                f"prompt {prompt} holds the mask token {self.config.mask_token_id}: fs.Strided only continues prompts"
            )
        return {
            "stride": int(self.decoding.stride or 0),
            "exact": self.decoding.exact,
            "row_cost": _ROW_COST,
        }

    def approximations_of(self, do_sample: bool) -> tuple[str, ...]:
        """Greedily both ways write what plain decoding writes."""
        return ("exact=False",) if do_sample and not self.decoding.exact else ()
