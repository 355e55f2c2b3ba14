"""What guesses tokens for fs.Speculative: the objects that its `drafter` takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Drafter", "EarlyExit", "PromptLookup", "SyntheticDrafter"]


class Drafter(ABC):
    """The base of a user's own drafter. It may guess anything: what the model would not have written is
    rejected, so the result's law never depends on it.
    """

    @abstractmethod
    def propose(self, tokens: Sequence[int]) -> Sequence[int] | tuple[Sequence[int], npt.ArrayLike] | None:
        """Guesses how `tokens` (prompt and what is written so far) go on; called on the caller's thread.

        Returns token ids, none or None for no guess; more than num_draft_tokens are cut. If the ids were
        drawn at random, return (ids, probabilities) with the distributions they were drawn from, float
        [len(ids), vocab], each row of sum 1: the test of drawn guesses accepts more of them.
        """


@dataclass(frozen=True)
class EarlyExit:
    """The model's own first layers and its output head (LayerSkip, arXiv 2404.16710; Draft & Verify,
    arXiv 2309.08168). No weights of its own; a K/V cache of those layers beside the model's.

    layer: how many layers, from 1 to one less than the model has.
    """

    layer: int


@dataclass(frozen=True)
class PromptLookup:
    """Guesses what followed the last few tokens when they occurred before in the same sequence (Saxena,
    "Prompt lookup decoding", 2023). No weights; pays where text repeats.

    The longest n-gram decides, max_ngram down to min_ngram tokens (1 to 32); of several occurrences the
    one with the longest continuation up to num_draft_tokens, and of those the latest.
    """

    max_ngram: int = 3
    min_ngram: int = 1

    def __post_init__(self) -> None:
        for name, value, least, most in (("max_ngram", self.max_ngram, 1, 32), ("min_ngram", self.min_ngram, 1, 32)):
            if not hasattr(value, "__index__") or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"PromptLookup: {name} is {value!r}, expected an integer from {least} to {most}")
        if self.min_ngram > self.max_ngram:
            raise ValueError(f"PromptLookup: min_ngram {self.min_ngram} is above max_ngram {self.max_ngram}")


@dataclass(frozen=True)
class SyntheticDrafter:
    """Random guesses, each accepted with a given probability whatever the model says: for measuring what
    speculation costs the engine without a trained drafter. What is written is nonsense, and
    `stats.approximations` says so.

    acceptance: 0 to 1, of each guess given that those before it were accepted; None: guesses are tested
    like any others, and hardly ever right: the worst drafter there is, and exact.
    """

    acceptance: float | None = None
