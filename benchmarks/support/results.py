"""Samples of interleaved rounds, their summary, and the file they end up in."""

from __future__ import annotations

import datetime
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

Samples = dict[str, dict[str, list[float]]]  # measurement -> engine -> values, one per round


def interleave(
    rounds: int,
    engines: Sequence[str],
    measurements: Sequence[tuple[str, Callable[[str], float | None]]],
    before_round: Callable[[], None] = lambda: None,
    around_round: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Samples:
    """Runs every measurement on every engine, round after round; each round begins with another engine.

    A measurement returns None for an engine that it leaves out, and when it only prepares others. The
    rest is shown as it comes. around_round: entered for each round, as a lock that other jobs know.
    """
    samples: Samples = {}
    for number in range(rounds):
        shift = number % len(engines)
        order = [*engines[shift:], *engines[:shift]]
        with around_round():
            before_round()
            for name, measure in measurements:
                for engine in order:
                    value = measure(engine)
                    if value is not None:
                        print(f"{name}, {engine}: {value:.4g} s", file=sys.stderr, flush=True)
                        samples.setdefault(name, {}).setdefault(engine, []).append(value)
    return samples


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, to four digits."""
    return {
        "median": rounded(statistics.median(values)),
        "min": rounded(min(values)),
        "max": rounded(max(values)),
    }


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return rounded(statistics.median(a / b for a, b in zip(numerators, denominators, strict=True)))


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes the result as JSON, with today's date."""
    dated = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), **result}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dated, indent=2) + "\n")
