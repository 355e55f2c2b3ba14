"""fs.Speculative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.core_drafters import core_drafter
from foresight.cost_curve import repeatable_costs
from foresight.strategies.base import Batch, Strategy, able

if TYPE_CHECKING:
    from foresight._core import Drafter as CoreDrafter
    from foresight.checkpoint import ModelConfig
    from foresight.core_drafters import Circumstances
    from foresight.decoding import Speculative

__all__ = ["MAX_DRAFT_TOKENS", "SpeculativeStrategy"]

MAX_DRAFT_TOKENS = 64

_VERIFICATIONS = ("block", "token", "match", "typical")
# EAGLE-2's tree (arXiv 2406.16858, appendix): ten wide, seven deep.
_DYNAMIC_WIDTH = 10
_DYNAMIC_DEPTH = 7
# Medusa's thresholds (arXiv 2401.10774).
_TYPICAL_EPSILON = 0.09
_TYPICAL_DELTA = 0.3


def _is_count(value: Any, most: int) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and 1 <= value <= most


class SpeculativeStrategy(Strategy):
    """Needs causal attention and rows that predict the token after them."""

    policy = "speculative"

    def __init__(self, decoding: Speculative, config: ModelConfig) -> None:
        if not _is_count(decoding.num_draft_tokens, MAX_DRAFT_TOKENS):
            raise ValueError(
                f"Speculative: num_draft_tokens is {decoding.num_draft_tokens!r}, expected an integer from 1 to"
                f" {MAX_DRAFT_TOKENS}"
            )
        if decoding.verification not in _VERIFICATIONS:
            raise ValueError(
                f"Speculative: verification is {decoding.verification!r}, expected one of {', '.join(_VERIFICATIONS)}"
            )
        if not isinstance(decoding.adaptive, bool):
            raise ValueError(f"Speculative: adaptive is {decoding.adaptive!r}, expected True or False")
        if config.attention != "causal" or not config.shifted:
            raise ValueError(
                f"fs.Speculative needs a causal model that predicts the token after each row; {able(config)}"
            )
        super().__init__(decoding, config)
        self.shape = self._shape()
        self.core = core_drafter(decoding.drafter, config)
        if self.shape["width"] > 1 and not self.core.grows_trees:
            raise NotImplementedError(
                f"Speculative: tree={decoding.tree!r} needs a drafter that ranks continuations:"
                f" {type(decoding.drafter).__name__} proposes one chain"
            )
        if self.shape["width"] > 1 and (
            decoding.verification == "typical" or self.core.synthetic_acceptance is not None
        ):
            raise NotImplementedError(
                "Speculative: typical and synthetic acceptance are rules for chains, not for trees"
            )
        self.spare_slots = self.shape["num_tokens"]

    def _shape(self) -> dict[str, Any]:
        count, tree = int(self.decoding.num_draft_tokens), self.decoding.tree
        if tree is None:
            return {"num_tokens": count, "depth": count, "width": 1, "dynamic": False}
        if tree == "dynamic":
            return {"num_tokens": count, "depth": _DYNAMIC_DEPTH, "width": _DYNAMIC_WIDTH, "dynamic": True}
        good = isinstance(tree, tuple) and len(tree) == 2 and all(_is_count(side, MAX_DRAFT_TOKENS) for side in tree)
        if not good or tree[0] * tree[1] > MAX_DRAFT_TOKENS:
            raise ValueError(
                f'Speculative: tree is {tree!r}, expected None, "dynamic", or (width, depth) with at most'
                f" {MAX_DRAFT_TOKENS} guesses in all"
            )
        width, depth = int(tree[0]), int(tree[1])
        return {"num_tokens": width * depth, "depth": depth, "width": width, "dynamic": False}

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        if batch.is_infilling(prompt):
            raise ValueError(
                f"prompt {prompt} holds the mask token {self.config.mask_token_id}: fs.Speculative only continues prompts"
            )
        synthetic = self.core.synthetic_acceptance
        return {
            **self.shape,
            "verification": self.decoding.verification if synthetic is None else "synthetic",
            "adaptive": self.decoding.adaptive,
            "repeatable": True,
            "costs": repeatable_costs(),
            "token_cost": 0.0,
            "round_cost": 0.0,
            "typical_epsilon": _TYPICAL_EPSILON,
            "typical_delta": _TYPICAL_DELTA,
            "synthetic_acceptance": 0.0 if synthetic is None else synthetic,
        }

    def drafter(self, circumstances: Circumstances) -> CoreDrafter | None:
        # A processor with a memory must see every position once, and none that is rejected later.
        if circumstances.stateful_processors:
            return None
        return self.core.build(circumstances)

    def adapt(self, options: dict[str, Any], circumstances: Circumstances) -> dict[str, Any]:
        # Measurements may decide where what is drawn does not depend on the guesses, or nobody wants it again.
        free = not circumstances.do_sample or self.decoding.verification == "match" or not circumstances.seeded
        measures = free and self.decoding.adaptive
        cost = self.core.measured_cost(circumstances) if measures else self.core.relative_cost(circumstances)
        adapted = {**options, "token_cost": cost.per_token, "round_cost": cost.per_round}
        if measures:
            adapted.update(repeatable=False, costs=circumstances.measured_costs())
        return adapted

    def approximations_of(self, do_sample: bool) -> tuple[str, ...]:
        if self.core.synthetic_acceptance is not None:
            return (f"synthetic_acceptance={self.core.synthetic_acceptance}",)
        return ("verification=typical",) if do_sample and self.decoding.verification == "typical" else ()
