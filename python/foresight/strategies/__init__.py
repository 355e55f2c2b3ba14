"""What each strategy of `foresight.decoding` means for a model: one file per strategy.

A strategy checks a user's object against the checkpoint, fills in what was left open, and says what
the core's policy is told about each prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from foresight.decoding import (
    Autoregressive,
    BlockDiffusion,
    Decoding,
    LatentAutoregressive,
    MaskedDiffusion,
    Speculative,
    Strided,
)
from foresight.policies import UserPolicy
from foresight.strategies.autoregressive import AutoregressiveStrategy
from foresight.strategies.base import Batch, Strategy
from foresight.strategies.block_diffusion import BlockDiffusionStrategy
from foresight.strategies.latent_autoregressive import LatentAutoregressiveStrategy
from foresight.strategies.masked_diffusion import MaskedDiffusionStrategy
from foresight.strategies.speculative import SpeculativeStrategy
from foresight.strategies.strided import StridedStrategy
from foresight.strategies.user import UserStrategy

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["Batch", "Strategy", "default_decoding", "strategy_for"]

_STRATEGIES: dict[type[Any], Callable[[Any, ModelConfig], Strategy]] = {
    Autoregressive: AutoregressiveStrategy,
    BlockDiffusion: BlockDiffusionStrategy,
    LatentAutoregressive: LatentAutoregressiveStrategy,
    MaskedDiffusion: MaskedDiffusionStrategy,
    Speculative: SpeculativeStrategy,
    Strided: StridedStrategy,
    UserPolicy: UserStrategy,
}


def default_decoding(config: ModelConfig) -> Decoding:
    """How a checkpoint's sequences are written when nobody says."""
    if config.attention in ("full", "semi_causal"):
        return MaskedDiffusion()
    if config.attention == "block_causal":
        return BlockDiffusion()
    return Autoregressive()


def strategy_for(decoding: Any, config: ModelConfig) -> Strategy:
    """The strategy of a `decoding=` argument for a checkpoint.

    Raises TypeError for anything that is none, ValueError for options out of range and for a strategy
    that the checkpoint cannot do, naming those it can.
    """
    if decoding is None:
        decoding = default_decoding(config)
    make = _STRATEGIES.get(type(decoding))
    if make is None:
        hint = "; call it first" if isinstance(decoding, type) or callable(decoding) else ""
        raise TypeError(f"decoding is {decoding!r}, expected fs.Autoregressive() or an object made by @fs.policy{hint}")
    return make(decoding, config)
