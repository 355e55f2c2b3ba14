"""Whether two samples come from one law."""

from collections import Counter
from typing import Any

import numpy as np

__all__ = ["is_far"]


def is_far(first: Counter[Any], second: Counter[Any]) -> bool:
    """Whether the two-sample chi-square statistic lies more than five standard deviations above its mean.

    Rare outcomes are put together. Raises AssertionError for samples that could show next to nothing.
    """
    total = first + second
    common = [outcome for outcome, count in total.items() if count >= 20]
    rows = [[counts[outcome] for outcome in common] for counts in (first, second)]
    for row, counts in zip(rows, (first, second), strict=True):
        row.append(sum(counts.values()) - sum(row))
    table = np.array(rows, dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    freedom = table.shape[1] - 1
    assert freedom > 3, f"{freedom + 1} outcomes"
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    return bool(statistic > freedom + 5 * np.sqrt(2 * freedom))
