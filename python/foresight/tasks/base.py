"""What every bundled task offers: problems, a check, and how an answer is read from what a model wrote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Problem:
    """One problem.

    prompt: token ids, ready for `generate`.
    answer: the right answer in its canonical form.
    text: the problem as a person would type it (what goes into a user message).
    size: how much work it takes, in the task's own unit.
    """

    prompt: list[int]
    answer: str
    text: str
    size: int


class Task(ABC):
    """A source of checkable problems.

    name: what `fs.tasks.get` knows it by.
    models: names of the bundled models trained for it, the main one first.
    probe_suffix: text that, appended to an unfinished sequence, makes the main model answer at once;
    None where that makes no sense.
    """

    name: str
    models: tuple[str, ...]
    probe_suffix: str | None = None

    @abstractmethod
    def problems(self, n: int, seed: int = 0, split: str = "test") -> list[Problem]:
        """Return `n` distinct problems; the same `seed` and `split` give the same ones, and a longer list
        begins with the shorter. No problem belongs to two splits.

        Raises ValueError for a negative `n`, or a split other than "train", "validation" and "test".
        """

    @property
    def probe_ids(self) -> list[int] | None:
        """`probe_suffix` as the main model's token ids; None where there is no suffix."""
        return None

    @abstractmethod
    def answer(self, sequence: str | Iterable[int]) -> str | None:
        """Read the answer from text or token ids (a whole sequence, or only what follows `probe_suffix`);
        None when there is none.
        """

    def check(self, problem: Problem, sequence: Iterable[int]) -> bool:
        """Say whether `sequence`, one line of what `generate` returns (the prompt, then the new tokens, padding
        allowed on either side), ends in the right answer.
        """
        return self.answer(sequence) == problem.answer


def require_split(n: int, split: str) -> None:
    """Raise ValueError unless `n` is not negative and `split` is one of `SPLITS`."""
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
