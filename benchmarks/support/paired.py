"""Differences that are paired over problems."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from support.results import rounded


def interval(differences: npt.NDArray[np.float64]) -> list[float]:
    """Mean and 95 % bootstrap interval over problems."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(4_000, len(differences)))].mean(axis=1)
    return [rounded(float(value)) for value in (differences.mean(), *np.quantile(means, (0.025, 0.975)))]


def verdict(first: list[float], second: list[float]) -> str:
    """Whether two measurements of a difference, as interval gives them, agree in its sign."""
    if first[0] * second[0] > 0 or first[0] == second[0] == 0:
        return "same sign"
    open_ones = [low <= 0 <= high for _, low, high in (first, second)]
    return "not told apart from 0" if all(open_ones) else "one not told apart from 0" if any(open_ones) else "opposite"


def standard_error(values: Any) -> float:
    """Of the mean."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)
