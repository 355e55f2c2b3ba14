"""Random and enumerated masks stand for one expectation, and the standard error is that of the draws."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from foresight.mask_draws import all_draws, random_draws, standard_error


def value(masks: tuple[int, ...], ordered: bool) -> float:
    """Something that depends on which masks there are, and on their order if that matters."""
    places = masks if ordered else tuple(sorted(masks))
    return sum(math.sin(7.0 * mask + 3.0 * place * (1 + mask)) for place, mask in enumerate(places)) - len(masks)


@pytest.mark.parametrize(("length", "samples"), [(1, 5), (5, 10), (4, 128), (16, 16), (3, 12)])
def test_every_count_comes_equally_often_where_that_is_possible(length: int, samples: int) -> None:
    for seed in range(20):
        draws = random_draws(length, samples, ordered=False, rng=np.random.default_rng(seed))
        counts = Counter(len(draw.masks) for draw in draws)
        if samples % length == 0:
            assert counts == dict.fromkeys(range(1, length + 1), samples // length)
        for draw in draws:
            assert list(draw.masks) == sorted(set(draw.masks))
            assert set(draw.masks) <= set(range(length))
            assert draw.weight == pytest.approx(length / len(draw.masks) / samples)


@pytest.mark.parametrize(("length", "samples"), [(3, 7), (7, 3), (5, 1), (2, 3)])
def test_counts_are_uniform_where_strata_cut_across_them(length: int, samples: int) -> None:
    """The published estimator rounds half to even, which prefers some counts."""
    runs = 4000
    rng = np.random.default_rng(1)
    counts: Counter[int] = Counter()
    for _ in range(runs):
        drawn = [len(draw.masks) for draw in random_draws(length, samples, ordered=False, rng=rng)]
        assert drawn == sorted(drawn)
        counts.update(drawn)
    total = runs * samples
    for count in range(1, length + 1):
        assert counts[count] / total == pytest.approx(1 / length, abs=4 * math.sqrt(0.25 / total))


@pytest.mark.parametrize("ordered", [False, True])
def test_sets_and_orders_are_uniform(ordered: bool) -> None:
    rng = np.random.default_rng(2)
    runs = 3000
    drawn = Counter(draw.masks for _ in range(runs) for draw in random_draws(3, 3, ordered=ordered, rng=rng))
    for count in (1, 2, 3):
        chosen = {masks: n for masks, n in drawn.items() if len(masks) == count}
        everything = [p for p in permutations(range(3), count) if ordered or list(p) == sorted(p)]
        assert set(chosen) == set(everything)
        for masks in everything:
            assert chosen[masks] / runs == pytest.approx(1 / len(everything), abs=4 * math.sqrt(0.25 / runs))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_all_draws_hold_each_set_once_and_weigh_each_token_once(length: int, ordered: bool) -> None:
    draws = all_draws(length, ordered=ordered)
    assert len({draw.masks for draw in draws}) == len(draws)
    number = sum((math.perm if ordered else math.comb)(length, k) for k in range(1, length + 1))
    assert len(draws) == number
    # n / k times the chance of being among k of n masks is one.
    for offset in range(length):
        assert sum(draw.weight for draw in draws if offset in draw.masks) == pytest.approx(1.0)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(("length", "samples"), [(4, 16), (4, 17), (5, 12), (6, 33)])
def test_estimates_scatter_around_the_expectation_by_their_standard_errors(
    length: int, samples: int, ordered: bool
) -> None:
    expected = sum(draw.weight * value(draw.masks, ordered) for draw in all_draws(length, ordered=ordered))
    rng = np.random.default_rng([length, samples])
    runs = 2000
    estimates, errors = np.empty(runs), np.empty(runs)
    for run in range(runs):
        draws = random_draws(length, samples, ordered=ordered, rng=rng)
        values = np.array([samples * draw.weight * value(draw.masks, ordered) for draw in draws])
        estimates[run], errors[run] = values.mean(), standard_error(values, length)
    spread = estimates.std(ddof=1)
    assert abs(estimates.mean() - expected) < 4 * spread / math.sqrt(runs)
    # On average at least the true one, and not much more.
    ratio = math.sqrt(float((errors**2).mean())) / spread
    assert 0.95 < ratio < 1.5


def test_one_draw_has_no_standard_error() -> None:
    assert math.isnan(standard_error(np.array([1.0]), 5))
    assert standard_error(np.array([1.0, 3.0]), 5) == pytest.approx(1.0)
    # Two counts with four strata each: what the counts differ by is no error.
    assert standard_error(np.array([1.0, 3.0, 1.0, 3.0, 91.0, 93.0, 91.0, 93.0]), 2) == pytest.approx(
        math.sqrt(8 * 4 / 3) / 8
    )
    assert standard_error(np.full(9, -2.5), 4) == 0.0
