"""What a forward of the model takes, by its number of rows: what adaptive strategies decide by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foresight._core import Engine

__all__ = ["CostCurve", "CostMemo", "as_costs", "measure", "measure_briefly", "repeatable_costs"]

_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_BRIEF_ROWS = (1, 2, 4, 8, 16, 32)

# For calls that must repeat: what a forward of n rows takes relative to one row for a 0.6B model in
# bfloat16 on two cores (benchmarks/results/row_engine.json: 40.5, 62.7 and 284 ms for 1, 8 and 64).
_STORED_ROWS = (1, 8, 64)
_STORED_COSTS = (1.0, 1.55, 7.0)


@dataclass(frozen=True)
class CostCurve:
    """Seconds of a forward of rows[i] rows of one sequence, the least of a few repeats."""

    rows: tuple[int, ...]
    seconds: tuple[float, ...]

    def at(self, rows: int) -> float:
        """Seconds of a forward of that many rows, between and beyond the measured ones by straight lines."""
        return _interpolate(self.rows, self.seconds, rows)


def _interpolate(xs: Sequence[int], ys: Sequence[float], x: int) -> float:
    right = next((i for i, known in enumerate(xs) if known >= x), len(xs) - 1)
    if xs[right] == x or len(xs) == 1:
        return ys[right]
    left = max(right - 1, 0)
    right = left + 1
    slope = (ys[right] - ys[left]) / (xs[right] - xs[left])
    return ys[left] + slope * (x - xs[left])


def measure(engine: Engine) -> CostCurve:
    """Measures 1 to 256 rows (as many as the cache holds); takes seconds on a large model."""
    rows = [count for count in _ROWS if count <= engine.max_cached_tokens]
    return CostCurve(tuple(rows), tuple(engine.measure_forwards(rows, 3)))


def measure_briefly(engine: Engine) -> CostCurve:
    """Measures up to 32 rows: what a call does by itself, once for a model."""
    rows = [count for count in _BRIEF_ROWS if count <= engine.max_cached_tokens]
    return CostCurve(tuple(rows), tuple(engine.measure_forwards(rows, 2)))


class CostMemo:
    """What has been measured of a model. Threads that come at once may measure twice."""

    def __init__(self) -> None:
        self._full: CostCurve | None = None
        self._brief: list[int] | None = None

    def curve(self, engine: Engine) -> CostCurve:
        """The whole curve."""
        if self._full is None:
            self._full = measure(engine)
            self._brief = as_costs(self._full)
        return self._full

    def costs(self, engine: Engine) -> list[int]:
        """Nanoseconds of 1, 2, ... rows, from the whole curve where it is known."""
        if self._brief is None:
            self._brief = as_costs(measure_briefly(engine))
        return self._brief


def as_costs(curve: CostCurve, most: int = 256) -> list[int]:
    """Nanoseconds of 1, 2, ... rows, never less than those of fewer rows."""
    costs: list[int] = []
    for rows in range(1, most + 1):
        nanoseconds = max(1, round(1e9 * curve.at(rows)))
        costs.append(max(nanoseconds, costs[-1] if costs else 1))
    return costs


def repeatable_costs() -> list[int]:
    """The stored table, in the same form."""
    return as_costs(CostCurve(_STORED_ROWS, tuple(cost * 1e-3 for cost in _STORED_COSTS)))
