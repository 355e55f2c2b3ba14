"""The bounds agree with exact fractions and known values, and keep their promise in simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from foresight.risk_bounds import (
    binomial_cdf,
    clopper_pearson_bound,
    fixed_sequence,
    hoeffding_bentkus_bound,
    hoeffding_bentkus_p_value,
    questions_needed,
    upper_bound,
)


def exact_cdf(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


@pytest.mark.parametrize(("k", "n", "p"), [(0, 1, (1, 2)), (3, 20, (1, 10)), (40, 200, (1, 4)), (199, 200, (9, 10))])
def test_the_binomial_is_exact(k: int, n: int, p: tuple[int, int]) -> None:
    assert binomial_cdf(k, n, p[0] / p[1]) == pytest.approx(float(exact_cdf(k, n, Fraction(*p))), rel=1e-11)


def test_edges_of_the_binomial() -> None:
    assert binomial_cdf(-1, 5, 0.3) == 0.0
    assert binomial_cdf(5, 5, 0.3) == 1.0
    assert binomial_cdf(2, 5, 0.0) == 1.0
    assert binomial_cdf(2, 5, 1.0) == 0.0


def test_clopper_pearson_has_its_defining_property_and_closed_ends() -> None:
    assert clopper_pearson_bound(0, 100, 0.05) == pytest.approx(1.0 - 0.05**0.01)
    assert clopper_pearson_bound(7, 7, 0.05) == 1.0
    assert clopper_pearson_bound(0, 0, 0.05) == 1.0
    bound = Fraction(clopper_pearson_bound(3, 40, 0.1))
    assert float(exact_cdf(3, 40, bound)) == pytest.approx(0.1, rel=1e-9)


def test_hoeffding_bentkus_is_the_smaller_of_its_two_parts() -> None:
    n, mean, risk = 50, 0.04, 0.2
    divergence = mean * math.log(mean / risk) + (1 - mean) * math.log((1 - mean) / (1 - risk))
    hoeffding = math.exp(-n * divergence)
    bentkus = math.e * float(exact_cdf(2, n, Fraction(1, 5)))
    assert hoeffding_bentkus_p_value(mean, n, risk) == pytest.approx(min(hoeffding, bentkus), rel=1e-9)
    assert hoeffding_bentkus_p_value(0.3, n, risk) == 1.0
    bound = hoeffding_bentkus_bound(mean, n, 0.1)
    assert hoeffding_bentkus_p_value(mean, n, bound) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("risk", [0.03, 0.2, 0.5])
def test_a_bound_fails_no_more_often_than_promised(risk: float, binary: bool) -> None:
    rng = np.random.default_rng(5)
    delta, runs, n = 0.2, 2000, 60
    # Losses of mean `risk`: coins, or shares of a Beta law.
    losses = rng.random((runs, n)) < risk if binary else rng.beta(2 * risk, 2 * (1 - risk), (runs, n))
    failures = sum(upper_bound([float(x) for x in row], delta, binary=binary) < risk for row in losses)
    assert failures / runs <= delta + 3 * math.sqrt(delta * (1 - delta) / runs)


def test_the_binary_bound_is_not_wasteful() -> None:
    rng = np.random.default_rng(6)
    losses = rng.random((2000, 200)) < 0.2
    failures = np.mean([clopper_pearson_bound(int(row.sum()), 200, 0.2) < 0.2 for row in losses])
    assert failures > 0.1


def test_questions_needed_do() -> None:
    needed = questions_needed(0.0, 0.05, 0.1)
    assert needed == math.ceil(math.log(0.1) / math.log(0.95))
    needed = questions_needed(0.02, 0.05, 0.1)
    assert needed is not None
    assert clopper_pearson_bound(math.ceil(0.02 * needed), needed, 0.1) <= 0.05
    assert questions_needed(0.06, 0.05, 0.1) is None


def test_testing_stops_at_the_first_failure() -> None:
    assert fixed_sequence([0.01, 0.02, 0.3, 0.01], 0.05) == 2
    assert fixed_sequence([0.5, 0.01], 0.05) == 0
    assert fixed_sequence([], 0.05) == 0
    assert fixed_sequence([0.05], 0.05) == 1


def test_bad_losses_are_named() -> None:
    with pytest.raises(ValueError, match="no losses"):
        upper_bound([], 0.1, binary=True)
    with pytest.raises(ValueError, match=r"loss 1 is 1\.5, expected from 0 to 1"):
        upper_bound([0.0, 1.5], 0.1, binary=False)
    with pytest.raises(ValueError, match=r"loss 0 is 0\.5, expected 0 or 1"):
        upper_bound([0.5], 0.1, binary=True)
