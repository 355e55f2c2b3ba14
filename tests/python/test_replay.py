"""Replay of recorded branches: published figures, and plain re-implementations as oracle."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight import recorded
from foresight.branches import Branches
from support.recorded import records

TRACES = os.environ.get("FORESIGHT_PARALLEL_PROBE_TRACES")
needs_traces = pytest.mark.skipif(TRACES is None, reason="FORESIGHT_PARALLEL_PROBE_TRACES names no file")


# --- Oracles: each takes the branches of a draw and says (answer, sequential, total, probes). ---


def majority(answers: list[str]) -> str:
    return Counter(answers).most_common(1)[0][0]  # a tie: what was counted first


def self_consistency(branches: list[Any], freq: int) -> Any:
    tokens = [tokens for _, tokens, _ in branches]
    return majority([final for _, _, final in branches]), max(tokens), sum(tokens), 0


class OneBranch:
    """A branch that is explored probe by probe, and charged for it as the released loader does."""

    def __init__(self, branch: Any, freq: int) -> None:
        self.probes, self.tokens, self.final = branch
        self.freq = freq
        self.read = 0
        self.cost = 0
        self.answer: str | None = None
        self.ended = self.pruned = False
        self.disagreed = 0

    def explore(self) -> None:
        if self.ended or self.pruned:
            return
        if self.read < len(self.probes):
            self.answer = self.probes[self.read]
            self.read += 1
            self.cost += self.freq
        else:
            self.ended, self.answer = True, self.final
            self.cost += max(0, self.tokens - self.cost)


def parallel_probe(branches: list[Any], freq: int, stable: int, patience: int, warmup: int) -> Any:
    pool = [OneBranch(branch, freq) for branch in branches]

    def vote() -> str:
        return majority([branch.answer for branch in pool if not branch.pruned and branch.answer is not None])

    for branch in pool:
        branch.explore()
    winner, unchanged, answer, step = "", 0, None, 0
    while answer is None and any(not branch.ended and not branch.pruned for branch in pool):
        step += 1
        for branch in pool:
            branch.explore()
        now = vote()
        unchanged = unchanged + 1 if now == winner else 0
        winner = now
        if unchanged >= stable:
            answer = now
            break
        for branch in pool:
            if branch.ended or branch.pruned or step < warmup + 1:
                continue
            branch.disagreed = 0 if branch.answer == now else branch.disagreed + 1
            branch.pruned = branch.disagreed >= patience
    costs = [branch.cost for branch in pool]
    return answer or vote(), max(costs), sum(costs), sum(branch.read for branch in pool)


def beta(a: int, b: int) -> Fraction:
    """P(p > 1/2) for p ~ Beta(a + 1, b + 1)."""
    n = a + b + 1
    return Fraction(sum(math.comb(n, j) for j in range(a + 1)), 2**n)


def is_sure(answers: list[str], confidence: float) -> bool:
    counts = [count for _, count in Counter(answers).most_common(2)] + [0, 0]
    return beta(counts[0], counts[1]) >= confidence


def adaptive_consistency(branches: list[Any], freq: int, confidence: float) -> Any:
    answers: list[str] = []
    spent = 0
    for _, tokens, final in branches:
        answers.append(final)
        spent += tokens
        if is_sure(answers, confidence):
            break
    return majority(answers), spent, spent, 0


def early_stopping(branches: list[Any], freq: int, window: int) -> Any:
    sequential = total = 0
    for first in range(0, len(branches), window):
        some = branches[first : first + window]
        sequential += max(tokens for _, tokens, _ in some)
        total += sum(tokens for _, tokens, _ in some)
        if len({final for _, _, final in some}) == 1:
            return some[0][2], sequential, total, 0
    return majority([final for _, _, final in branches]), sequential, total, 0


def side_by_side(branches: list[Any], is_enough: Callable[[list[int]], bool], tie: str = "first") -> Any:
    """All run until `is_enough` of those that have finished, in the order in which they did."""
    order = sorted(range(len(branches)), key=lambda i: (branches[i][1], i))
    finished: list[int] = []
    for index in order:
        finished.append(index)
        if is_enough(finished):
            break
    clock = branches[finished[-1]][1]
    voters = finished if tie == "shortest" else sorted(finished)
    total = sum(min(tokens, clock) for _, tokens, _ in branches)
    return majority([branches[i][2] for i in voters]), clock, total, 0


def lossless_lead(branches: list[Any], freq: int) -> Any:
    def is_enough(finished: list[int]) -> bool:
        counts = [count for _, count in Counter(branches[i][2] for i in finished).most_common(2)] + [0]
        return counts[0] - counts[1] > len(branches) - len(finished)

    return side_by_side(branches, is_enough)


def waves(branches: list[Any], freq: int, sizes: list[int], fraction: float, confidence: float) -> Any:
    first = clock = total = 0
    answers: list[tuple[int, str]] = []
    for size in sizes:
        wave = branches[first : first + size]
        enough = math.ceil(Fraction(fraction) * size)
        order = sorted(range(size), key=lambda i: (wave[i][1], i))[:enough]
        length = wave[order[-1]][1]
        answers += [(first + i, wave[i][2]) for i in order]
        total += sum(min(tokens, length) for _, tokens, _ in wave)
        clock += length
        first += size
        if is_sure([answer for _, answer in answers], confidence):
            break
    return majority([answer for _, answer in sorted(answers)]), clock, total, 0


ORACLES: list[tuple[Any, Callable[[list[Any], int], Any]]] = [
    (fs.SelfConsistency(12), self_consistency),
    *(
        (
            fs.ParallelProbe(12, interval=10, stable=stable, patience=patience, warmup=warmup),
            lambda b, f, s=stable, p=patience, w=warmup: parallel_probe(b, f, s, p, w),
        )
        for stable, patience, warmup in [(3, 2, 0), (6, 3, 4), (40, 2, 1), (40, 50, 15), (1, 1, 0)]
    ),
    (fs.AdaptiveConsistency(12, confidence=0.9), lambda b, f: adaptive_consistency(b, f, 0.9)),
    (fs.EarlyStoppingConsistency(12, window=2), lambda b, f: early_stopping(b, f, 2)),
    (fs.EarlyStoppingConsistency(12, window=5), lambda b, f: early_stopping(b, f, 5)),
    (fs.LosslessLead(12), lossless_lead),
    (fs.ShortestFirst(12, count=3), lambda b, f: side_by_side(b, lambda done: len(done) >= 3, "shortest")),
    (
        fs.BetaStop(12, confidence=0.8, min_finished=3),
        lambda b, f: side_by_side(b, lambda done: len(done) >= 3 and is_sure([b[i][2] for i in done], 0.8)),
    ),
    (fs.Waves((4, 8), fraction=0.5, confidence=0.85), lambda b, f: waves(b, f, [4, 8], 0.5, 0.85)),
    (fs.Waves((3, 3, 6), fraction=1.0, confidence=0.9), lambda b, f: waves(b, f, [3, 3, 6], 1.0, 0.9)),
]


@pytest.mark.parametrize(("controller", "oracle"), ORACLES, ids=lambda x: str(x) if isinstance(x, Branches) else "")
@pytest.mark.parametrize("seed", range(8))
def test_every_controller_decides_as_its_plain_description(controller: Any, oracle: Any, seed: int) -> None:
    questions = records(seed)
    draws, width = 25, 12
    (result,) = fs.replay(questions, controller, draws=draws)
    for question, replayed in zip(questions, result.per_question, strict=True):
        expected = []
        for draw in range(draws):
            order = list(range(len(question["each_branch"])))
            random.Random(draw).shuffle(order)
            branches = [question["each_branch"][i] for i in order[:width]]
            expected.append((*oracle(branches, question["probe_freq"]), self_consistency(branches, 10)[0]))
        mean = [sum(column) / draws for column in zip(*[e[1:4] for e in expected], strict=True)]
        assert [replayed.sequential_tokens, replayed.total_tokens, replayed.probes] == pytest.approx(mean)
        assert replayed.accuracy == pytest.approx(sum(e[0] == question["gold_answer"] for e in expected) / draws)
        assert replayed.same_as_full_vote == pytest.approx(sum(e[0] == e[4] for e in expected) / draws)


def test_deep_conf_weighs_by_confidence() -> None:
    draw = random.Random(4)
    for _ in range(30):
        branches = [
            recorded.Branch(draw.randrange(40, 90), draw.choice("abc"), confidences=[(16, draw.uniform(1, 9))])
            for _ in range(8)
        ]
        question = recorded.Question("q", branches, confidence_group=16)
        values = [branch.confidences[0][1] for branch in branches]

        def heaviest(voters: list[int], branches: Any = branches, values: Any = values) -> str:
            weights: dict[str, float] = {}
            for i in voters:
                weights[branches[i].answer] = weights.get(branches[i].answer, 0.0) + values[i]
            return max(weights, key=lambda answer: weights[answer])

        bar = float(np.percentile(values, 75))
        offline = heaviest([i for i in range(8) if values[i] >= bar])
        recording = recorded.Recording("one", [question])
        (result,) = fs.replay(recording, fs.DeepConf(8, warmup=8, keep=0.25, group=16), draws=0, gold=[offline])
        assert result.accuracy == 1.0
        assert result.sequential_tokens == max(branch.num_tokens for branch in branches)

        bar = float(np.percentile(values[:3], 75))
        online = heaviest([0, 1, 2, *(i for i in range(3, 8) if values[i] >= bar)])
        controller = fs.DeepConf(8, warmup=3, keep=0.25, group=16, consensus=1.0)
        (result,) = fs.replay(recording, controller, draws=0, gold=[online])
        unanimous = len({branch.answer for branch in branches[:3]}) == 1
        assert result.accuracy == 1.0 or unanimous
        # Those below the bar end at the first look, at the first multiple of 32 with a full group.
        warm = max(branch.num_tokens for branch in branches[:3])
        look = next(clock for clock in range(32, 999, 32) if clock - warm >= 16) - warm
        pruned = [look if values[i] < bar else branches[i].num_tokens for i in range(3, 8)]
        if not unanimous:
            clock = warm + max(pruned)
            assert result.sequential_tokens <= clock
        with pytest.raises(ValueError, match="q: confidences are recorded of groups of 16 tokens"):
            fs.replay(recording, fs.DeepConf(8, warmup=3, group=64), draws=0)


@needs_traces
@pytest.mark.parametrize(
    ("controller", "figures"),
    [
        (fs.ParallelProbe(64, interval=500, stable=40, patience=7, warmup=15), ("81.47", 20324, 730781)),
        (fs.SelfConsistency(64), ("80.37", 30091, 910813)),
    ],
)
def test_published_figures_to_the_last_digit(controller: Any, figures: Any) -> None:
    (result,) = fs.replay(str(TRACES), controller)
    assert (f"{100 * result.accuracy:.2f}", round(result.sequential_tokens), round(result.total_tokens)) == figures
    assert result.questions == 30


def test_lossless_lead_is_lossless() -> None:
    for seed in range(20):
        (result,) = fs.replay(records(seed), fs.LosslessLead(16))
        assert result.same_as_full_vote == 1.0


def test_the_result_is_the_mean_over_questions() -> None:
    (result,) = fs.replay(records(3), fs.SelfConsistency(12), draws=10)
    accuracies = [question.accuracy for question in result.per_question]
    mean = sum(accuracies) / 4
    assert result.accuracy == pytest.approx(mean)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in accuracies) / 3)
    assert result.accuracy_standard_error == pytest.approx(deviation / 2)
    assert result.questions == 4


def test_probes_cost_what_is_said() -> None:
    questions = records(5)
    (free,) = fs.replay(questions, fs.ParallelProbe(12, interval=10))
    (paid,) = fs.replay(questions, fs.ParallelProbe(12, interval=10), probe_cost=3)
    assert paid.total_tokens == pytest.approx(free.total_tokens + 3 * free.probes)
    assert free.sequential_tokens < paid.sequential_tokens <= free.sequential_tokens + 3 * 40
    assert paid.accuracy == free.accuracy


def test_a_controller_may_probe_less_often_than_the_record() -> None:
    question = {"probe_freq": 10, "each_branch": [[["1"] * 7, 71, "1"], [["2"] * 3, 29, "2"]]}
    (result,) = fs.replay([question], fs.ParallelProbe(2, interval=20), draws=0)
    assert result.probes == 3 + 1
    assert result.total_tokens == 71 + 29


def test_width_draws_and_gold() -> None:
    questions = [{"probe_freq": 5, "each_branch": [[[], 30, "a"], [[], 10, "b"], [[], 20, "b"]]}]
    (first,) = fs.replay(questions, fs.SelfConsistency(2), draws=0, gold=["a"])
    assert (first.accuracy, first.total_tokens) == (1.0, 40)
    (all_three,) = fs.replay(questions, fs.SelfConsistency(2), width=3, draws=0, gold=["a"])
    assert (all_three.accuracy, all_three.total_tokens) == (0.0, 60)
    (unknown,) = fs.replay(questions, 3, draws=0)
    assert math.isnan(unknown.accuracy)
    assert math.isnan(unknown.accuracy_standard_error)
    assert unknown.same_as_full_vote == 1.0
    assert len(fs.replay([questions, questions], "self_consistency", width=2, gold=[["a"], ["b"]])) == 2
    with pytest.raises(ValueError, match="gold has 2 answers for 1 questions"):
        fs.replay(questions, 3, gold=["a", "b"])
    with pytest.raises(ValueError, match=r"records, question 0: the controller starts more branches than the 3"):
        fs.replay(questions, fs.SelfConsistency())
    (one_by_one,) = fs.replay(
        [{"probe_freq": 5, "each_branch": [[[], 9, "a"]] * 5}], fs.AdaptiveConsistency(64), draws=3
    )
    assert one_by_one.total_tokens == 4 * 9  # sure before it has started more than there are
    assert math.isnan(one_by_one.same_as_full_vote)
    with pytest.raises(ValueError, match="draws is -1"):
        fs.replay(questions, 3, draws=-1)
    with pytest.raises(ValueError, match="Waves has no width"):
        fs.replay(questions, fs.Waves(), width=3)
    with pytest.raises(ValueError, match="no file"):
        fs.replay([], 3)
    with pytest.raises(TypeError, match="is no controller"):
        fs.replay(questions, object())
    with pytest.raises(TypeError, match=r"expected one of its objects: SelfConsistency\(\)"):
        fs.replay(questions, fs.SelfConsistency)


def test_what_a_record_lacks_is_named() -> None:
    questions = records(1)
    with pytest.raises(
        ValueError, match=r"question 0, branch \d+: no probe is recorded at 7 tokens; .* multiples of 10"
    ):
        fs.replay(questions, fs.ParallelProbe(12, interval=7))
    with pytest.raises(ValueError, match=r"question 0, branch \d+: no confidence is recorded"):
        fs.replay(questions, fs.DeepConf(12, warmup=4))
    with pytest.raises(ValueError, match=r"question 0, branch \d+: no confidence is recorded"):
        fs.replay(questions, fs.SelfConsistency(4, vote="confidence"))
    with pytest.raises(ValueError, match=r"question 0, branch \d+: no c"):
        fs.replay(questions, fs.MemoryPrune(fs.SelfConsistency(4), kv_cache_bytes=100))
