"""A certified risk holds at the promised rate, and what cannot be certified is refused with a reason."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.controllers import resolve
from foresight.recorded.synthetic import synthetic_records
from foresight.risk import certify
from foresight.risk_bounds import clopper_pearson_bound, hoeffding_bentkus_bound


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """180 questions of three kinds."""
    kinds = ("easy", "bimodal", "slow_but_wrong")
    return [record for kind in kinds for record in synthetic_records(kind, questions=60, branches=16, seed=7)]


@pytest.fixture(scope="module")
def single() -> list[dict[str, Any]]:
    """Questions of which one branch tells: a third are hopeless."""
    kinds = ("easy", "hard", "long_tailed")
    return [record for kind in kinds for record in synthetic_records(kind, questions=80, branches=1, seed=8)]


def test_the_cheapest_certified_setting_is_taken(records: list[dict[str, Any]]) -> None:
    bound = fs.RiskBound(fs.BetaStop(16), records, risk=0.1)
    assert bound.num_questions == 180
    certified = [setting for setting in bound.settings if setting.certified]
    assert [setting.controller for setting in bound.settings[: len(certified)]] == [s.controller for s in certified]
    assert all(setting.bound <= 0.1 for setting in certified)
    assert bound.certified == min(certified, key=lambda setting: setting.total_tokens).controller
    if len(certified) < len(bound.settings):
        assert bound.settings[len(certified)].bound > 0.1


def test_losses_are_those_of_a_replay(records: list[dict[str, Any]]) -> None:
    bound = fs.RiskBound(fs.BetaStop(16), records, risk=0.3, loss="wrong")
    for setting in bound.settings:
        (result,) = fs.replay(records, setting.controller, draws=1)
        assert setting.losses == pytest.approx(1.0 - result.accuracy)
        assert setting.total_tokens == pytest.approx(result.total_tokens)


def test_full_caution_never_differs_from_the_full_vote(records: list[dict[str, Any]]) -> None:
    bound = fs.RiskBound(fs.LikelyLead(16), records, risk=0.05)
    assert bound.settings[0].losses == 0.0
    assert bound.settings[0].bound == pytest.approx(1.0 - 0.1 ** (1 / 180))
    tokens = [setting.total_tokens for setting in bound.settings]
    assert tokens == sorted(tokens, reverse=True)


def test_it_stands_for_what_it_certified(records: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_text(json.dumps(records))
    bound = fs.RiskBound(fs.BetaStop(16), path, risk=0.1)
    assert resolve(bound) is bound.certified
    assert fs.replay(path, bound, draws=3) == fs.replay(path, bound.certified, draws=3)


def test_a_question_counts_once_however_many_draws_it_has(records: list[dict[str, Any]]) -> None:
    once = fs.RiskBound(fs.BetaStop(16), records, risk=0.2)
    often = fs.RiskBound(fs.BetaStop(16), records, risk=0.2, draws=8)
    assert once.num_questions == often.num_questions == 180
    assert often.settings[-1].losses > 0.0
    for setting in once.settings:
        assert setting.bound == clopper_pearson_bound(round(180 * setting.losses), 180, 0.1)
    for setting in often.settings:
        assert setting.bound == pytest.approx(hoeffding_bentkus_bound(setting.losses, 180, 0.1))


def test_a_refusal_says_how_many_questions_would_do(records: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"0 of 10 calibration questions were lost.*about 45 questions would certify"):
        fs.RiskBound(fs.LikelyLead(16), records[:10], risk=0.05)
    with pytest.raises(ValueError, match="no number of questions would certify it"):
        fs.RiskBound(fs.BetaStop(16), synthetic_records("hard", branches=16), risk=0.05, loss="wrong")


def test_thresholds_of_a_single_trace_are_calibrated_in_two_steps(single: list[dict[str, Any]]) -> None:
    rule = fs.ThresholdStop()
    upper = fs.RiskBound(rule, single, risk=0.5, loss="wrong", delta=0.05)
    both = fs.RiskBound(rule, single, risk=0.5, loss="wrong", delta=0.1, lower_risk=0.1)
    assert both.settings == upper.settings
    assert both.certified.upper == upper.certified.upper < 1.0
    assert both.certified.gives_up
    tokens = {setting.controller: setting.total_tokens for setting in (*both.settings, *both.lower_settings)}
    assert tokens[both.certified] < tokens[upper.certified]
    # What it gives up is what it would have got wrong, but for the certified share.
    answers = [fs.replay(single, one.certified, draws=1)[0].accuracy for one in (upper, both)]
    assert answers[0] - answers[1] <= 0.1


def test_a_single_trace_without_labels(single: list[dict[str, Any]]) -> None:
    bound = fs.RiskBound(fs.ThresholdStop(), single, risk=0.1)
    (result,) = fs.replay(single, bound, draws=1)
    assert result.same_as_full_vote >= 0.9
    (full,) = fs.replay(single, fs.SelfConsistency(1), draws=1)
    assert result.total_tokens < full.total_tokens


def test_the_promise_holds_over_calibrations_and_a_naive_rule_breaks_it(records: list[dict[str, Any]]) -> None:
    risk, delta, runs, size = 0.06, 0.1, 300, 120
    grid = [fs.BetaStop(16, confidence) for confidence in (0.999, 0.99, 0.95, 0.9, 0.8, 0.7)]
    pool = np.array(
        [[1.0 - one.same_as_full_vote for one in fs.replay(records, c, draws=1)[0].per_question] for c in grid]
    )
    true_risk = pool.mean(axis=1)
    assert true_risk[0] < risk < true_risk[-1], "the risk lies within the grid, so that it can be exceeded"
    rng = np.random.default_rng(0)
    exceeded = naive_exceeded = 0
    for _ in range(runs):
        losses = pool[:, rng.integers(pool.shape[1], size=size)]
        _, passed = certify([[float(x) for x in row] for row in losses], risk, delta, binary=True)
        exceeded += bool(passed and true_risk[:passed].max() > risk)
        naive = np.flatnonzero(losses.mean(axis=1) <= risk)
        naive_exceeded += bool(len(naive) and true_risk[naive].max() > risk)
    assert exceeded / runs <= delta + 3 * math.sqrt(delta * (1 - delta) / runs)
    assert naive_exceeded / runs > 0.3


def test_bad_arguments_are_named(records: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"risk is 1\.5"):
        fs.RiskBound(fs.BetaStop(16), records, risk=1.5)
    with pytest.raises(ValueError, match="loss is 'odd', expected 'differs' or 'wrong'"):
        fs.RiskBound(fs.BetaStop(16), records, loss="odd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="SelfConsistency has no grid of settings"):
        fs.RiskBound(fs.SelfConsistency(16), records)
    with pytest.raises(ValueError, match="inner is empty"):
        fs.RiskBound([], records)
    with pytest.raises(ValueError, match="inner start up to"):
        fs.RiskBound([fs.SelfConsistency(16), fs.SelfConsistency(8)], records)
    with pytest.raises(ValueError, match=r"lower_risk is for fs\.ThresholdStop, inner is BetaStop"):
        fs.RiskBound(fs.BetaStop(16), records, lower_risk=0.1)
