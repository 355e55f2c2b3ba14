"""Each family of synthetic traces has the property that it is named after, and the released structure."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from foresight.recorded.synthetic import FAMILIES, NO_RESULT, synthetic_records

Record = dict[str, Any]


def shares(record: Record) -> list[float]:
    """Of the answers, largest first."""
    counts = Counter(final for _, _, final in record["each_branch"])
    return [count / len(record["each_branch"]) for _, count in counts.most_common()]


def right_share(record: Record) -> float:
    return float(np.mean([final == record["gold_answer"] for _, _, final in record["each_branch"]]))


def lengths(record: Record, *, right: bool | None = None) -> Any:
    gold = record["gold_answer"]
    return np.array([tokens for _, tokens, final in record["each_branch"] if right is None or (final == gold) == right])


@pytest.fixture(scope="module")
def families() -> dict[str, list[Record]]:
    return {family: synthetic_records(family, seed=3) for family in FAMILIES}


def test_records_have_the_released_structure(families: dict[str, list[Record]]) -> None:
    for records in families.values():
        assert len(records) == 30
        for record in json.loads(json.dumps(records)):
            assert set(record) == {"question", "gold_answer", "probe_freq", "final_answers_trace", "each_branch"}
            assert len(record["each_branch"]) == 128
            for probes, tokens, final in record["each_branch"]:
                assert 1 <= tokens <= 41000
                assert len(probes) == tokens // record["probe_freq"]
                assert isinstance(final, str)
            longest = max(len(probes) for probes, _, _ in record["each_branch"])
            assert len(record["final_answers_trace"]) == longest


def test_the_seed_decides_everything() -> None:
    assert synthetic_records("hard", seed=1, questions=3) == synthetic_records("hard", seed=1, questions=3)
    assert synthetic_records("hard", seed=1, questions=3) != synthetic_records("hard", seed=2, questions=3)


def test_easy_questions_are_answered_by_nearly_all(families: dict[str, list[Record]]) -> None:
    assert min(right_share(record) for record in families["easy"]) > 0.8


def test_hard_questions_are_long_and_mostly_wrong(families: dict[str, list[Record]]) -> None:
    assert max(right_share(record) for record in families["hard"]) < 0.5
    assert min(np.median(lengths(record)) for record in families["hard"]) > 15000
    # Wrong in many ways.
    assert min(len(shares(record)) for record in families["hard"]) > 15


def test_bimodal_answers_are_two_and_lengths_tell_nothing(families: dict[str, list[Record]]) -> None:
    for record in families["bimodal"]:
        first, second = shares(record)[:2]
        assert first + second > 0.9
        assert second > 0.2
    ratios = [
        np.median(lengths(record, right=True)) / np.median(lengths(record, right=False))
        for record in families["bimodal"]
    ]
    assert 0.95 < np.median(ratios) < 1.05


def test_long_tailed_lengths_reach_the_cap(families: dict[str, list[Record]]) -> None:
    for record in families["long_tailed"]:
        spread = lengths(record)
        assert np.quantile(spread, 0.95) / np.quantile(spread, 0.05) > 7
    assert any(final == NO_RESULT for record in families["long_tailed"] for _, _, final in record["each_branch"])


@pytest.mark.parametrize(("family", "sign"), [("fast_but_wrong", -1), ("slow_but_wrong", 1)])
def test_wrong_branches_are_short_or_long(families: dict[str, list[Record]], family: str, sign: int) -> None:
    for record in families[family]:
        right, wrong = lengths(record, right=True), lengths(record, right=False)
        if min(len(right), len(wrong)) >= 10:
            assert sign * np.log(np.median(wrong) / np.median(right)) > 0.1


def test_the_first_to_finish_are_wrong_where_the_majority_is_right(families: dict[str, list[Record]]) -> None:
    for record in families["fast_but_wrong"]:
        branches = sorted(record["each_branch"], key=lambda branch: branch[1])
        first = Counter(final for _, _, final in branches[:8]).most_common(1)[0][0]
        assert first != record["gold_answer"]
        assert right_share(record) > 0.5


def test_a_coin_flip_has_two_answers_of_one_half(families: dict[str, list[Record]]) -> None:
    for record in families["coin_flip"]:
        assert len(shares(record)) in (2, 3)  # a third: branches cut at the cap
        assert 0.3 < right_share(record) < 0.7


def test_drifting_probes_mislead_until_late(families: dict[str, list[Record]]) -> None:
    for record in families["drifting"]:
        majority = record["final_answers_trace"]
        early = Counter(majority[: len(majority) // 5]).most_common(1)[0]
        assert early[0] != record["gold_answer"]
        assert early[1] == len(majority) // 5
        assert right_share(record) > 0.5


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="family 'odd' is not known; known are easy, hard"):
        synthetic_records("odd")
    with pytest.raises(ValueError, match="branches is 0, but must be at least 1"):
        synthetic_records("easy", branches=0)
