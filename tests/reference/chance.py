"""Choices at random: drawn from a given source of uniforms, or all of them in turn, which gives the exact law.

A procedure that makes all its random choices through `choose(probabilities) -> index` can be run either way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Choose = Callable[[Tensor], int]


def by_uniforms(uniform: Callable[[], float]) -> Choose:
    """Each choice takes one uniform of [0, 1): the first index whose cumulated probability exceeds it."""

    def choose(probabilities: Tensor) -> int:
        cumulated = probabilities.double().cumsum(0)
        return int(torch.searchsorted(cumulated, uniform() * float(cumulated[-1]), right=True))

    return choose


def flip(choose: Choose, probability: float) -> bool:
    return choose(torch.tensor([1 - probability, probability], dtype=torch.float64)) == 1


def law(procedure: Callable[[Choose], Hashable]) -> dict[Hashable, float]:
    """Result of the procedure -> its probability, by running it once along every possible sequence of choices."""
    outcomes: dict[Hashable, float] = defaultdict(float)
    pending: list[tuple[int, ...]] = [()]
    while pending:
        path = _Path(pending.pop(), pending)
        outcomes[procedure(path.choose)] += path.probability
    return dict(outcomes)


class _Path:
    """Takes the forced choices, then always the first possible one, and leaves the others for later."""

    def __init__(self, forced: tuple[int, ...], pending: list[tuple[int, ...]]) -> None:
        self.forced, self.pending = forced, pending
        self.taken: tuple[int, ...] = ()
        self.probability = 1.0

    def choose(self, probabilities: Tensor) -> int:
        depth = len(self.taken)
        if depth < len(self.forced):
            index = self.forced[depth]
        else:
            index, *others = probabilities.nonzero()[:, 0].tolist()
            self.pending += [(*self.taken, other) for other in others]
        self.taken = (*self.taken, index)
        self.probability *= float(probabilities[index])
        return index


def total_variation(first: dict[Hashable, float], second: dict[Hashable, float]) -> float:
    return sum(abs(first.get(key, 0.0) - second.get(key, 0.0)) for key in {*first, *second}) / 2
