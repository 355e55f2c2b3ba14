"""How the tokens of two models relate: what lets a model with another tokenizer guess.

The guesses are the tokens that both vocabularies spell alike (token-level intersection, Timor et al.,
arXiv 2502.05202); the context is spelled token by token in the drafter's vocabulary, which may differ
from how its tokenizer would cut the whole text: that costs acceptance, never exactness.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foresight.call import LoadedModel
    from foresight.checkpoint import Tokenizer

__all__ = ["VocabularyMap", "vocabulary_map"]

NO_TOKEN = -1


@dataclass(frozen=True)
class VocabularyMap:
    """spelled: per target token the drafter's tokens; same: per drafter token the target's, or -1. Both
    empty: the vocabularies are the same.
    """

    spelled: list[list[int]] = field(default_factory=list)
    same: list[int] = field(default_factory=list)

    @property
    def slots_per_token(self) -> int:
        """How many of the drafter's tokens stand for one of the target's, at most."""
        return max((len(tokens) for tokens in self.spelled), default=1)


def vocabulary_map(target: LoadedModel, drafter: LoadedModel) -> VocabularyMap:
    """The map of two models. Raises ValueError naming both sides where they cannot be related."""
    if target.tokenizer is None or drafter.tokenizer is None:
        return _without_tokenizers(target, drafter)
    return _mapped(target.tokenizer, drafter.tokenizer, target.config.vocab_size, drafter.config.vocab_size)


def _without_tokenizers(target: LoadedModel, drafter: LoadedModel) -> VocabularyMap:
    sizes = target.config.vocab_size, drafter.config.vocab_size
    if sizes[1] > sizes[0]:
        raise ValueError(
            f"the drafter has {sizes[1]} tokens and the model {sizes[0]}, and without both tokenizers nothing says how"
            " they relate"
        )
    return VocabularyMap()


def _plain(piece: str) -> str:
    """A token's text, with the spaces and line ends that byte-level and SentencePiece vocabularies write otherwise."""
    return piece.replace("▁", " ").replace("Ġ", " ").replace("Ċ", "\n")


@lru_cache(maxsize=8)
def _mapped(target: Tokenizer, drafter: Tokenizer, target_size: int, drafter_size: int) -> VocabularyMap:
    ours, theirs = target.vocabulary(), drafter.vocabulary()
    if ours == theirs and drafter_size <= target_size:
        return VocabularyMap()
    twins = {_plain(text): token for text, token in theirs.items()}
    spelled: list[list[int]] = [[] for _ in range(target_size)]
    same = [NO_TOKEN] * drafter_size
    for text, token in ours.items():
        if token >= target_size:
            continue
        twin = twins.get(_plain(text))
        if twin is not None and twin < drafter_size:
            spelled[token] = [twin]
            same[twin] = token
            continue
        pieces = drafter.encode(target.decode([token]), add_special_tokens=False)
        spelled[token] = [piece for piece in pieces if piece < drafter_size]
    if all(token == NO_TOKEN for token in same):
        raise ValueError(
            f"the drafter's {len(theirs)} tokens and the model's {len(ours)} have none in common: it cannot guess for it"
        )
    return VocabularyMap(spelled, same)
