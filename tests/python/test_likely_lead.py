"""The recommended controller: its options, what it is robust against, and the evidence on recorded traces."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.controllers import named, resolve
from foresight.recorded.synthetic import synthetic_records

TRACES = "FORESIGHT_PARALLEL_PROBE_TRACES"


def per_question(files: Any, controller: Any, draws: int) -> Any:
    """Accuracy, sequential and total tokens, [questions, 3]."""
    (result,) = fs.replay(files, controller, draws=draws)
    return np.array([[one.accuracy, one.sequential_tokens, one.total_tokens] for one in result.per_question])


def test_auto_is_the_recommended_controller() -> None:
    assert resolve("auto") == fs.LikelyLead()
    assert named("auto", width=32) == fs.LikelyLead(32)


def test_caution_is_what_protects_against_short_wrong_branches() -> None:
    records = synthetic_records("fast_but_wrong", questions=40, seed=4)
    bold = per_question(records, fs.LikelyLead(caution=0.0, confidence=0.9), 10)[:, 0].mean()
    cautious = per_question(records, fs.LikelyLead(), 10)[:, 0].mean()
    full = per_question(records, fs.SelfConsistency(64), 10)[:, 0].mean()
    assert cautious > full - 0.2
    assert cautious > bold + 0.3


def test_probes_that_mislead_do_not_concern_it() -> None:
    records = synthetic_records("drifting", questions=20, seed=4)
    ours = per_question(records, fs.LikelyLead(), 5)
    theirs = per_question(records, fs.ParallelProbe(64), 5)
    assert ours[:, 0].mean() > 0.95
    assert theirs[:, 0].mean() < 0.8


@pytest.mark.skipif(TRACES not in os.environ, reason=f"{TRACES} names no file of recorded traces")
@pytest.mark.parametrize("width", [64, 32])
def test_it_beats_parallel_probe_on_recorded_traces(width: int) -> None:
    path = os.environ[TRACES]
    difference = per_question(path, fs.LikelyLead(), 100) - per_question(path, fs.ParallelProbe(width), 100)
    draws = np.random.default_rng(0).integers(len(difference), size=(10_000, len(difference)))
    upper = np.quantile(difference[draws].mean(axis=1), 0.975, axis=0)
    assert 100 * difference[:, 0].mean() >= -0.5
    assert upper[1] < 0.0
    assert upper[2] < 0.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": 0}, ValueError, "width is 0"),
        ({"confidence": 1.0}, ValueError, r"confidence is 1\.0"),
        ({"caution": 1.5}, ValueError, r"caution is 1\.5, expected from 0 to 1"),
        ({"caution": "some"}, TypeError, "caution is 'some', expected a number"),
        ({"caution": float("nan")}, ValueError, "caution is nan, expected a finite number"),
        ({"min_finished": 0}, ValueError, "min_finished is 0"),
        ({"vote": "confidence"}, ValueError, "vote is 'confidence', but LikelyLead takes 'majority'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fs.LikelyLead(**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"signal": "mood"}, ValueError, "signal is 'mood', expected 'stability' or 'confidence'"),
        ({"smoothing": 0.0}, ValueError, r"smoothing is 0\.0"),
        ({"interval": 0}, ValueError, "interval is 0"),
        ({"upper": float("inf")}, ValueError, "upper is inf, expected a finite number"),
        ({"gives_up": 1}, TypeError, "gives_up is 1, expected True or False"),
    ],
)
def test_bad_options_of_threshold_stop_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fs.ThresholdStop(**options)


def test_a_recorded_file_without_confidences_is_refused_by_name() -> None:
    records = synthetic_records("easy", questions=1, branches=2)
    with pytest.raises(ValueError, match=r"question 0, branch \d: no confidence is recorded at 1000 tokens"):
        fs.replay(records, fs.ThresholdStop("confidence", group=1000))
