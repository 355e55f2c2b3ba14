"""What every strategy offers to a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foresight.decoding import Decoding

if TYPE_CHECKING:
    from foresight._core import Drafter
    from foresight.checkpoint import ModelConfig
    from foresight.core_drafters import Circumstances

__all__ = ["Batch", "Strategy", "able", "check_count"]


@dataclass(frozen=True)
class Batch:
    """What a call asks for, prompt by prompt.

    prompts: token ids, masks included. budgets: new tokens at most after each prompt. do_sample: whether
    tokens are drawn.
    """

    prompts: Sequence[Sequence[int]]
    budgets: Sequence[int]
    eos_token_ids: Sequence[int]
    mask_token_id: int | None
    do_sample: bool = False

    def num_masks(self, prompt: int) -> int:
        """How many positions a prompt's canvas has to decide."""
        return sum(token == self.mask_token_id for token in self.prompts[prompt]) + self.budgets[prompt]

    def mask_span(self, prompt: int) -> int:
        """How far it is from a canvas's first mask to its end."""
        tokens = self.prompts[prompt]
        first = next((i for i, token in enumerate(tokens) if token == self.mask_token_id), len(tokens))
        return len(tokens) + self.budgets[prompt] - first

    def is_infilling(self, prompt: int) -> bool:
        """Whether a prompt holds masks."""
        return self.mask_token_id is not None and self.mask_token_id in self.prompts[prompt]


class Strategy(ABC):
    """A checked `decoding=` object for one checkpoint.

    policy: the core's name for it, or a user's own. writes_canvas: whether masks are decided in place.
    """

    policy: Any = ""
    writes_canvas: bool = False
    spare_slots: int = 0  # of the cache, that a forward needs beyond the tokens of a sequence

    def __init__(self, decoding: Any, config: ModelConfig) -> None:
        self.decoding = decoding
        self.config = config

    @abstractmethod
    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        """What the core's policy is told about a prompt. Raises ValueError for what does not fit it."""

    def drafter(self, circumstances: Circumstances) -> Drafter | None:
        """What guesses tokens for the call, of the core's kind."""
        del circumstances
        return None

    def adapt(self, options: dict[str, Any], circumstances: Circumstances) -> dict[str, Any]:
        """`options` with what only the call's circumstances tell."""
        del circumstances
        return options

    def suppressed_tokens(self, batch: Batch) -> list[int]:
        """Tokens that the strategy never writes."""
        del batch
        return []

    def check_guidance(self, batch: Batch, negative_prompts: Sequence[Sequence[int]]) -> None:
        """Raises NotImplementedError for guidance that the strategy cannot do.

        negative_prompts: one per prompt, or none for the strategy's own.
        """
        del batch, negative_prompts

    def resolved(self, batch: Batch) -> Any:
        """The object with its open fields filled in."""
        del batch
        return self.decoding

    @property
    def approximations(self) -> tuple[str, ...]:
        """The options that leave the reference's law; empty for an exact strategy."""
        return ()

    def approximations_of(self, do_sample: bool) -> tuple[str, ...]:
        """The same for one call, where it makes a difference whether it samples."""
        del do_sample
        return self.approximations


def check_count(owner: Decoding, name: str, value: Any, minimum: int = 1) -> None:
    """Raises ValueError unless a field holds None or an integer of at least `minimum`."""
    good = hasattr(value, "__index__") and not isinstance(value, bool) and value >= minimum
    if value is not None and not good:
        raise ValueError(f"{type(owner).__name__}: {name} is {value!r}, expected an integer of at least {minimum}")


_ABLE = {
    "causal": "fs.Autoregressive()",
    "full": "fs.MaskedDiffusion() and, where it was trained for that, fs.LatentAutoregressive(window)",
    "semi_causal": "fs.MaskedDiffusion()",
    "block_causal": "fs.BlockDiffusion()",
}


def able(config: ModelConfig) -> str:
    """What a checkpoint can do, for error messages."""
    mask = "" if config.mask_token_id is None else f" and mask token {config.mask_token_id}"
    drafts = config.attention == "causal" and config.shifted and config.mask_token_id is not None
    strided = " and fs.Strided()" if drafts else ""
    return f"{config.family} with {config.attention} attention{mask} can do {_ABLE[config.attention]}{strided}"
