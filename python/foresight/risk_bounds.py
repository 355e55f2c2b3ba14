"""Finite-sample tests of "the expected loss is at most `risk`": valid for any number of calibration questions.

A test gives a p-value for the hypothesis that the risk is too large: under it, P(p <= delta) <= delta. Settings are
tested in an order that is fixed before the data are seen, each at the full delta, until one fails: then with probability
at least 1 - delta no setting that passed is too risky (fixed-sequence testing; Angelopoulos et al., 2110.01052).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p)."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 0.0
    log_p, log_q, log_choices = math.log(p), math.log1p(-p), 0.0
    terms = []
    for i in range(k + 1):
        terms.append(log_choices + i * log_p + (n - i) * log_q)
        log_choices += math.log((n - i) / (i + 1))
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def clopper_pearson_bound(losses: int, n: int, delta: float) -> float:
    """Largest risk that `losses` ones among n draws of a loss in {0, 1} do not refute at level delta: an upper bound
    that holds with probability at least 1 - delta. 1 for n = 0.
    """
    if losses >= n:
        return 1.0
    low, high = losses / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if binomial_cdf(losses, n, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def hoeffding_bentkus_p_value(mean: float, n: int, risk: float) -> float:
    """p-value of "the risk is above `risk`" from the mean of n independent losses in [0, 1] (Bates et al., 2101.02703)."""
    if n == 0:
        return 1.0
    # Kullback-Leibler divergence of two coins; 0 where the mean is not below the risk.
    a = min(mean, risk)
    divergence = 0.0
    if a > 0.0:
        divergence += a * math.log(a / risk)
    if a < 1.0:
        divergence += (1.0 - a) * math.log((1.0 - a) / (1.0 - risk))
    hoeffding = math.exp(-n * divergence)
    # A rounding error in the mean must not push n * mean over a whole number.
    bentkus = math.e * binomial_cdf(math.ceil(n * mean - 1e-9), n, risk)
    return min(1.0, hoeffding, bentkus)


def hoeffding_bentkus_bound(mean: float, n: int, delta: float) -> float:
    """Upper bound of the risk that holds with probability at least 1 - delta, for losses in [0, 1]."""
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle <= 0.0 or hoeffding_bentkus_p_value(mean, n, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def upper_bound(losses: Sequence[float], delta: float, *, binary: bool) -> float:
    """Of the expected loss: Clopper-Pearson for losses in {0, 1}, which is the tighter one, else Hoeffding-Bentkus.

    A setting passes the test at level delta exactly if this bound is at most the risk. Which bound is used must not
    depend on the values seen, so the caller says it.

    Raises:
        ValueError: no losses, or one outside [0, 1], or not 0 or 1 with ``binary``.
    """
    if not losses:
        raise ValueError("there are no losses to bound")
    for i, loss in enumerate(losses):
        if not 0.0 <= loss <= 1.0:
            raise ValueError(f"loss {i} is {loss}, expected from 0 to 1")
        if binary and loss not in (0.0, 1.0):
            raise ValueError(f"loss {i} is {loss}, expected 0 or 1")
    if binary:
        return clopper_pearson_bound(round(sum(losses)), len(losses), delta)
    return hoeffding_bentkus_bound(math.fsum(losses) / len(losses), len(losses), delta)


def questions_needed(rate: float, risk: float, delta: float, *, most: int = 100_000) -> int | None:
    """A number of questions that certifies `risk` if a share `rate` of them is lost, nearly the least; None: not even
    `most` do.
    """

    def certifies(n: int) -> bool:
        return clopper_pearson_bound(math.ceil(rate * n - 1e-9), n, delta) <= risk

    if rate >= risk or not certifies(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if certifies(middle):
            high = middle
        else:
            low = middle
    return high


def fixed_sequence(bounds: Sequence[float], risk: float) -> int:
    """How many settings, from the first on, are certified: testing stops at the first that fails."""
    for count, bound in enumerate(bounds):
        if not bound <= risk:
            return count
    return len(bounds)
