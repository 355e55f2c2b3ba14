"""Which tokens are masked when a likelihood is estimated: random draws, or all of them with their weights.

Both stand for one expectation. Let x have n tokens. Draw k uniformly from 1 .. n, then a uniform set S of k positions
(and, for models whose masks see each other in an order, a uniform order of S); the expectation of
n / k * sum over i in S of log p(x_i | tokens outside S, masks at S) is the estimate of log p(x).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Draw", "all_draws", "random_draws", "standard_error"]

# Strata from which a spread is estimated, at least: with two the estimate itself would scatter too much.
_MERGED = 4


@dataclass(frozen=True)
class Draw:
    """masks: offsets into the tokens, ascending, or in their order where orders matter. weight: of the sum of the
    log-probabilities at the masks; the weighted sums of all draws add up to the estimate.
    """

    masks: tuple[int, ...]
    weight: float


def random_draws(length: int, samples: int, *, ordered: bool, rng: np.random.Generator) -> list[Draw]:
    """`samples` independent draws; that of stratum j of `samples` takes its count from the j-th part of 1 .. length.

    Each stratum has a uniform number of its own, so that every count comes up with its right probability
    whatever length and samples are, and exactly samples / length times where that is whole.
    """
    uniform = (np.arange(samples) + rng.random(samples)) / samples
    counts = np.minimum((uniform * length).astype(np.int64) + 1, length)
    draws = []
    for count in counts.tolist():
        masks = rng.permutation(length)[:count].tolist()
        draws.append(Draw(tuple(masks if ordered else sorted(masks)), length / (count * samples)))
    return draws


def all_draws(length: int, *, ordered: bool) -> list[Draw]:
    """Every set of masks (in every order, where orders matter) with its probability times n / k."""
    draws = []
    for count in range(1, length + 1):
        choose = itertools.permutations if ordered else itertools.combinations
        number = math.perm(length, count) if ordered else math.comb(length, count)
        draws += [Draw(masks, 1.0 / (count * number)) for masks in choose(range(length), count)]
    return draws


def standard_error(values: npt.NDArray[np.float64], length: int) -> float:
    """Of the mean of independent draws, one per stratum, in the order of the strata.

    One draw tells nothing of its own stratum's spread, so neighbouring strata, those that share their smallest count
    and four at least, are taken as draws of one law. What their expectations differ by makes the error too large,
    never too small, on average. nan for a single draw.
    """
    samples = len(values)
    if samples < 2:
        return math.nan
    counts = np.arange(samples) * length // samples
    cuts = [0]
    for stratum in range(1, samples):
        is_next = counts[stratum] != counts[stratum - 1]
        if is_next and stratum - cuts[-1] >= _MERGED and samples - stratum >= _MERGED:
            cuts.append(stratum)
    groups = np.split(values, cuts[1:])
    return math.sqrt(sum(len(group) * float(group.var(ddof=1)) for group in groups)) / samples
