"""Replay of recorded branches: published figures, plain re-implementations as oracle, and files that are none."""

from __future__ import annotations

import json
import math
import os
import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight import recorded
from foresight.branches import Branches
from foresight.cli import main

TRACES = os.environ.get("FORESIGHT_PARALLEL_PROBE_TRACES")
needs_traces = pytest.mark.skipif(TRACES is None, reason="FORESIGHT_PARALLEL_PROBE_TRACES names no file")

Records = list[dict[str, Any]]


def records(seed: int, questions: int = 4, branches: int = 20, freq: int = 10) -> Records:
    """Random records; as in the released files, the number of probes is not tokens // freq."""
    draw = random.Random(seed)
    made = []
    for number in range(questions):
        answers = ["1", "2", "3", "ERR"]
        weights = [draw.random() ** 2 + 0.02 for _ in answers]
        each_branch = []
        for _ in range(branches):
            tokens = draw.randrange(3, 40 * freq)
            probes = max(0, tokens // freq + draw.choice([0, 0, 1, -1, -3]))
            said = draw.choices(answers, weights, k=probes + 1)
            each_branch.append([said[:-1], tokens, said[-1]])
        gold = draw.choice(answers)
        made.append({"question": str(number), "gold_answer": gold, "probe_freq": freq, "each_branch": each_branch})
    return made


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


# --- A controller of one's own ---


class PythonParallelProbe(fs.Controller):
    """The core's ParallelProbe in Python."""

    width = 12
    interval = probe_interval = 10

    def __init__(self) -> None:
        self.round = self.unchanged = 0
        self.winner: str | None = None
        self.disagreed: Counter[int] = Counter()

    def on_interval(self, view: Any) -> Any:
        self.round += 1
        if self.round == 1:
            return None
        winner = next(iter(view.vote(finished=False)), None)
        self.unchanged = self.unchanged + 1 if self.round > 2 and winner == self.winner else 0
        self.winner = winner
        if self.unchanged >= 6:
            return [fs.Stop(winner, "stable")]
        actions = []
        for branch in view.branches:
            if branch.status != "running" or self.round < 4 + 2:
                continue
            self.disagreed[branch.index] += 1
            if branch.answer == winner:
                self.disagreed[branch.index] = 0
            if self.disagreed[branch.index] >= 3:
                actions.append(fs.Prune(branch.index, "outvoted"))
        return actions

    def votes(self, view: Any) -> dict[str, float]:
        return view.vote(finished=False)  # type: ignore[no-any-return]


def test_a_python_controller_decides_as_the_core_does() -> None:
    core = fs.ParallelProbe(12, interval=10, stable=6, patience=3, warmup=4)
    for seed in range(5):
        assert fs.replay(records(seed), PythonParallelProbe()) == fs.replay(records(seed), core)


def test_a_python_controller_sees_its_branches() -> None:
    seen: list[Any] = []

    class Looks(fs.Controller):
        width = 2
        probe_interval = 10

        def on_probe(self, view: Any, branch: int) -> Any:
            one = view.branches[branch]
            seen.append((view.clock, branch, one.num_tokens, one.status, one.answer, one.probes, one.start, one.reason))
            assert one.confidence is None
            assert one.cache_bytes == 0
            assert one.parent is None

        def on_finish(self, view: Any, branch: int) -> Any:
            seen.append((view.clock, branch, view.branches[branch].status, view.vote(), view.vote(finished=False)))
            return [fs.Start(1)] if len(view.branches) < 3 else []

    branches = [[["a", "b"], 25, "c"], [[], 4, "d"], [[], 3, "d"]]
    (result,) = fs.replay([{"probe_freq": 10, "each_branch": branches}], Looks(), width=3, draws=0)
    assert result.total_tokens == 25 + 4 + 3
    assert seen[0] == (10, 0, 10, "running", "a", [(10, "a")], 0, "")
    assert seen[1] == (10, 1, "finished", {"d": 1.0}, {"a": 1.0, "d": 1.0})


def test_requests_do_not_share_a_controllers_state() -> None:
    class Counts(fs.Controller):
        width = 3

        def __init__(self) -> None:
            self.finished: list[int] = []

        def on_finish(self, view: Any, branch: int) -> Any:
            self.finished.append(branch)
            assert len(self.finished) == sum(b.status == "finished" for b in view.branches)

    fs.replay(records(2), Counts(), draws=5)


def test_a_vote_of_ones_own() -> None:
    def longest(view: Any) -> dict[str, float]:
        best = max((b for b in view.branches if b.status == "finished"), key=lambda b: b.num_tokens)
        return {best.answer: 1.0}

    questions = [{"gold_answer": "z", "probe_freq": 5, "each_branch": [[[], 30, "z"], [[], 10, "b"], [[], 20, "b"]]}]
    assert fs.replay(questions, fs.SelfConsistency(3))[0].accuracy == 0.0
    assert fs.replay(questions, fs.SelfConsistency(3, vote=longest))[0].accuracy == 1.0
    with pytest.raises(TypeError, match=r"a vote gave None, expected a dict"):
        fs.replay(questions, fs.SelfConsistency(3, vote=lambda view: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"the weight -1"):
        fs.replay(questions, fs.SelfConsistency(3, vote=lambda view: {"a": -1}))


class Says(fs.Controller):
    width = 2
    interval = 10

    def __init__(self, said: Any) -> None:
        self.said = said

    def on_interval(self, view: Any) -> Any:
        return self.said


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (3, TypeError, "the controller returned 3, expected a list of actions"),
        (["stop"], TypeError, "a list with 'stop', expected fs.Start, fs.Fork"),
        ([fs.Stop(7)], TypeError, "the answer of fs.Stop is 7, expected a str or None"),
        ([fs.Prune("a")], TypeError, "the branch of fs.Prune is 'a', expected an integer"),
        ([fs.Prune(2)], ValueError, r"prune\(2\): there are branches 0 to 1"),
        ([fs.Stop("\ud800")], ValueError, "surrogates not allowed"),
        ([fs.Start(-1)], ValueError, "the count of fs.Start is -1"),
        ([fs.Start(1)], ValueError, "the controller starts more branches than the 2"),
        ([fs.Fork(0)], ValueError, "the controller forks it after 10 tokens"),
        ([fs.Probe()], TypeError, "the branch of fs.Probe is None"),
        ([fs.Probe(0)], ValueError, "no probe is recorded at 10 tokens"),
    ],
)
def test_actions_that_are_none(said: Any, error: type[Exception], message: str) -> None:
    questions = [{"probe_freq": 50, "each_branch": [[[], 30, "a"], [[], 40, "b"]]}]
    with pytest.raises(error, match=message):
        fs.replay(questions, Says(said), draws=1)


def test_a_controller_that_raises_and_one_that_keeps_its_view() -> None:
    questions = records(0)

    class Raises(fs.Controller):
        def on_finish(self, view: Any, branch: int) -> Any:
            raise RuntimeError(f"branch {branch}")

    with pytest.raises(RuntimeError, match="branch"):
        fs.replay(questions, Raises())
    kept: list[Any] = []

    class Keeps(fs.Controller):
        def on_finish(self, view: Any, branch: int) -> Any:
            kept.extend([view, view.branches[0]])

    fs.replay(questions, Keeps(), draws=1)
    with pytest.raises(ValueError, match="valid only during the call"):
        _ = kept[0].clock
    with pytest.raises(ValueError, match="valid only during the call"):
        _ = kept[1].answer


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("wants", {"logits"}, ValueError, "wants holds 'logits', expected 'confidence' or 'cache_bytes'"),
        ("wants", "confidence", TypeError, "expected a set of names"),
        ("interval", -5, ValueError, "interval is -5"),
        ("probe_interval", 2.5, TypeError, "probe_interval is 2.5, expected an integer"),
        ("width", 0, ValueError, "width of the controller is 0"),
    ],
)
def test_attributes_that_are_none(name: str, value: Any, error: type[Exception], message: str) -> None:
    controller = fs.Controller()
    setattr(controller, name, value)
    with pytest.raises(error, match=message):
        fs.replay(records(0), controller)


# --- Options ---


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fs.SelfConsistency(0), ValueError, "width is 0"),
        (lambda: fs.SelfConsistency(2.0), TypeError, "width is 2.0, expected an integer"),
        (lambda: fs.SelfConsistency(True), TypeError, "width is True"),
        (lambda: fs.ParallelProbe(interval=0), ValueError, "interval is 0"),
        (lambda: fs.ParallelProbe(vote="confidence"), ValueError, "ParallelProbe takes 'majority'"),
        (lambda: fs.ShortestFirst(4, 5), ValueError, "count is 5, more than the width 4"),
        (lambda: fs.BetaStop(confidence=1.0), ValueError, "confidence is 1.0, expected above 0 and below 1"),
        (lambda: fs.BetaStop(confidence=math.nan), ValueError, "confidence is nan"),
        (lambda: fs.Waves(()), ValueError, r"sizes is \(\)"),
        (lambda: fs.Waves((4, -1)), ValueError, "a wave of sizes is -1"),
        (lambda: fs.Waves(fraction=1.5), ValueError, "fraction is 1.5, expected above 0 and at most 1"),
        (lambda: fs.DeepConf(8, warmup=9), ValueError, "warmup is 9, more than the width 8"),
        (lambda: fs.DeepConf(vote="majority"), ValueError, "DeepConf takes 'confidence'"),
        (lambda: fs.MemoryPrune(None, kv_cache_bytes=1), TypeError, "inner is None"),
        (lambda: fs.MemoryPrune(fs.BetaStop(), kv_cache_bytes=0), ValueError, "kv_cache_bytes is 0"),
        (lambda: fs.MemoryPrune(fs.BetaStop(), kv_cache_bytes=1, order="virtual"), ValueError, "give it to the contr"),
        (lambda: fs.SelfConsistency(order="fifo"), ValueError, "order is 'fifo'"),
        (lambda: fs.SelfConsistency(answer="boxed"), TypeError, "answer is 'boxed'"),
        (lambda: fs.SelfConsistency(equal="text"), ValueError, "equal is 'text'"),
        (lambda: fs.SelfConsistency(probe=fs.Probe(3)), ValueError, "which is an action"),
        (lambda: fs.SelfConsistency(probe="x"), TypeError, "probe is 'x'"),
        (lambda: fs.Probe("so: "), TypeError, r"fs.Probe\(suffix='so: '\)"),
        (lambda: fs.Probe(max_new_tokens=0), ValueError, "max_new_tokens is 0"),
    ],
)
def test_options_that_are_none(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_wrapper_has_the_common_options_of_what_it_wraps() -> None:
    inner = fs.SelfConsistency(5, order="arrival", equal="numeric", probe=fs.Probe(max_new_tokens=3))
    outer = fs.MemoryPrune(inner, kv_cache_bytes=10)
    assert (outer.order, outer.equal, outer.probe.max_new_tokens, outer.num_branches) == ("arrival", "numeric", 3, 5)
    assert fs.MemoryPrune(6, kv_cache_bytes=10).inner == fs.SelfConsistency(6)


def test_the_names_of_the_core_are_those_of_python() -> None:
    from foresight import _core
    from foresight.controllers import core_controller, named

    names = {cls.name for cls in Branches.__subclasses__()}
    assert names <= set(_core.controller_names())
    for name in names - {"memory_prune"}:
        assert core_controller(named(name)).name == name
    with pytest.raises(ValueError, match=r"controller 'beta_stop' has no option 'depth'; it has .*min_finished"):
        named("beta_stop", depth=3)


# --- Files ---


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(*keys: Any, value: Any) -> Records:
    questions = records(0, questions=2, branches=3)
    place: Any = questions
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return questions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it begins with ''"),
        ("hello", "it begins with 'h', not with"),
        ('[{"a": 1},\n {"b"', "line 2, column 6: not JSON, or cut off"),
        ("[]", "a list of 0, expected a list, each item an object"),
        ("[3]", "question 0: 3, expected an object"),
        ('[{"model": 1, "runs": []}]', "question 0: an object with 'model', 'runs', expected an object"),
        ("[" * 100_000, "not JSON"),
        (changed(1, "probe_freq", value=0), "question 1: probe_freq is 0, expected an integer from 1"),
        (changed(1, "probe_freq", value="500"), "question 1: probe_freq is '500'"),
        (changed(0, "each_branch", value=[]), "question 0: each_branch is a list of 0"),
        (changed(0, "each_branch", value={"a": 1}), "question 0: each_branch is an object with 'a'"),
        (changed(0, "each_branch", 2, value=[[], 3]), r"question 0, branch 2: a list of 2, expected \[\[probe"),
        (changed(0, "each_branch", 2, 1, value=-4), "question 0, branch 2: tokens is -4, expected an integer from 0"),
        (changed(0, "each_branch", 2, 1, value=2.5), "question 0, branch 2: tokens is 2.5"),
        (changed(0, "each_branch", 2, 1, value=True), "question 0, branch 2: tokens is True"),
        (changed(0, "each_branch", 2, 1, value=10**12), "question 0, branch 2: tokens is 1000000000000"),
        (changed(0, "each_branch", 1, 0, value="no"), "question 0, branch 1: the probe answers are 'no'"),
        (changed(0, "each_branch", 1, 0, value=["1", 5]), "question 0, branch 1: probe answer 1 is 5, expected a text"),
        (changed(0, "each_branch", 1, 2, value=5), "question 0, branch 1: the final answer is 5"),
        (changed(0, "each_branch", 1, 2, value="\ud800"), r"question 0, branch 1: the final answer is '.ud800'"),
        (changed(0, "each_branch", 1, 0, value=["\ud800"]), r"question 0, branch 1: probe answer 0 is '.ud800'"),
        (changed(1, "gold_answer", value=[1]), "question 1: gold_answer is a list of 1"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "some.json", content)
    with pytest.raises(ValueError, match=r"some\.json.*" + message):
        fs.replay(path, fs.SelfConsistency(2))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fs.replay(tmp_path / "none.json", 3)


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "seconds": 0.5, "step": 1, **fields}


def request(first: int, number: int) -> dict[str, Any]:
    fields = {"branch": first, "request": number, "sequences": 0, "max_length": 99, "seed": "5", "prompt": [1, 2]}
    return event("request", **fields, masks=[], controller="parallel_probe", probe_interval=10)


def start(branch: int, number: int, **fields: Any) -> dict[str, Any]:
    return event(
        "start",
        **{"branch": branch, "request": 0, "number": number, "parent": -1, "inherited": 0, "clock": 0, **fields},
    )


def end(branch: int, status: str, tokens: int, answer: str | None = None, clock: int = 0) -> dict[str, Any]:
    said = {} if answer is None else {"answer": answer}
    return event("end", branch=branch, status=status, num_tokens=tokens, clock=clock or tokens, reason="eos", **said)


def probe(branch: int, tokens: int, answer: str) -> dict[str, Any]:
    return event("probe", branch=branch, num_tokens=tokens, probe_tokens=4, answer=answer)


def confidence(branch: int, tokens: int, value: float) -> dict[str, Any]:
    return event("confidence", branch=branch, num_tokens=tokens, value=value)


# Request 0: one finished, one pruned at 20, one that had not ended when the request did. Request 1: one branch.
TRACE = [
    request(0, 0),
    start(0, 0),
    start(1, 1),
    request(2, 1),
    start(2, 0, request=1),
    start(3, 2),
    *(probe(branch, 10, answer) for branch, answer in [(0, "a"), (1, "b"), (3, "a")]),
    confidence(0, 12, 3.0),
    end(2, "finished", 8, "z"),
    event("outcome", request=1, winner=0, clock=8, reason="", answer="z"),
    end(0, "finished", 15, "a"),
    *(probe(branch, 20, answer) for branch, answer in [(1, "b"), (3, "a")]),
    end(1, "pruned", 20),
    end(3, "stopped", 20, "a"),
    event("outcome", request=0, winner=0, clock=20, reason="stable", answer="a"),
]


def lines(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in events)


def test_a_trace_of_our_own(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.jsonl", lines(TRACE))
    recording = recorded.read(path)
    assert [question.label.partition(", ")[2] for question in recording.questions] == ["request 0", "request 1"]
    first, second = recording.questions
    assert first.branches == [
        recorded.Branch(15, "a", [10], ["a"], [(12, 3.0)]),
        recorded.Branch(20, None, [10, 20], ["b", "b"], finished=False),
        recorded.Branch(20, None, [10, 20], ["a", "a"], finished=False),
    ]
    assert second.branches == [recorded.Branch(8, "z")]
    only_first = recorded.Recording("first", [first])
    stops = fs.ParallelProbe(3, interval=10, stable=1, patience=1, warmup=9)
    with pytest.raises(ValueError, match=r"request 0, branch 1: the controller needs more than the 20 tokens"):
        fs.replay(only_first, stops, draws=0)

    class StopsAt20(fs.Controller):
        width = 3
        interval = probe_interval = 10

        def on_interval(self, view: Any) -> Any:
            return [fs.Stop()] if view.clock == 20 else []

    (result,) = fs.replay(only_first, StopsAt20(), draws=0, gold=["a"])
    assert (result.accuracy, result.sequential_tokens, result.total_tokens, result.probes) == (1.0, 20, 55, 5)
    assert math.isnan(result.same_as_full_vote)


def test_a_probe_that_is_never_told_need_not_be_recorded(tmp_path: Path) -> None:
    # The recorded controller stopped at the first probe of the round, so the second one was never told.
    events = [request(0, 0), start(0, 0), start(1, 1), probe(0, 10, "a"), end(0, "stopped", 10), end(1, "stopped", 10)]

    class StopsAtOnce(fs.Controller):
        width = 2
        probe_interval = 10

        def on_probe(self, view: Any, branch: int) -> Any:
            return [fs.Stop("a")] if branch == 0 else None

    class StopsLater(StopsAtOnce):
        def on_probe(self, view: Any, branch: int) -> Any:
            return [fs.Stop("a")] if branch == 1 else None

    path = write(tmp_path / "trace.jsonl", lines(events))
    (result,) = fs.replay(path, StopsAtOnce(), draws=0)
    assert (result.total_tokens, result.probes) == (20, 1)
    with pytest.raises(ValueError, match="request 0, branch 1: no probe is recorded at 10 tokens"):
        fs.replay(path, StopsLater(), draws=0)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([event("step", rows=3)], "line 1: not a trace: it begins with 'step'"),
        ([{**request(0, 0), "sequences": 1, "controller": None}], "line 1"),
        (
            [event("request", branch=0, request=0, sequences=1, max_length=9, seed="5", prompt=[1], masks=[])],
            "no request of this trace has a controller",
        ),
        ([request(0, 0)], "request 0: the trace ends before its first branch"),
        (
            [request(0, 0), start(0, 0), start(1, 1, parent=0, inherited=4, clock=4)],
            "branch 1: it is a fork of branch 0",
        ),
        ([request(0, 0), start(0, 0), end(0, "finished", -3, "a")], "line 3: num_tokens is -3"),
        ([request(0, 0), start(0, 0), end(0, "done", 3, "a")], "line 3: the status 'done' is none of"),
        ([request(0, 0), start(0, 0), probe(0, 5, "a"), probe(0, 5, "b")], "branch 0: a probe at 5 tokens"),
        ([request(0, 0), start(0, 0), probe(0, 5, "\ud800")], r"branch 0: the answer '.ud800' is no text"),
        ([request(0, 0), start(0, 0), probe(1, 5, "a")], "line 3: sequence 1 was never requested"),
        ([request(0, 0), start(0, 0), event("outcome", request=4, winner=0, clock=1, reason="")], "line 3: an outcome"),
    ],
)
def test_traces_that_are_none(tmp_path: Path, events: Any, message: str) -> None:
    path = write(tmp_path / "trace.jsonl", lines(events))
    with pytest.raises(ValueError, match=message):
        fs.replay(path, 1, draws=0)


def test_a_trace_that_was_cut_off_is_recorded_up_to_there(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.jsonl", lines(TRACE)[:-200])
    assert len(recorded.read(path).questions) == 2


def test_written_in_the_released_format(tmp_path: Path) -> None:
    first = recorded.Question("a", [recorded.Branch(25, "x", [10, 20], ["y", None]), recorded.Branch(9, None)])
    path = tmp_path / "out.json"
    recorded.write_released([first], path, probe_freq=10, texts=["what?"], gold=["x"])
    assert json.loads(path.read_text()) == [
        {
            "question": "what?",
            "final_answers_trace": ["y", "ERR"],
            "each_branch": [[["y", "ERR"], 25, "x"], [[], 9, "ERR"]],
            "gold_answer": "x",
            "probe_freq": 10,
        }
    ]
    again = recorded.read(path).questions
    recorded.write_released(again, path)
    assert recorded.read(path).questions == again
    for questions, options, message in [
        ([first], {}, "a: probe_freq is not known"),
        ([first], {"probe_freq": 5}, "a, branch 0: probe 1 lies at 10 tokens, and the released format has it at 5"),
        ([recorded.Question("a", [recorded.Branch(5, None, finished=False)])], {"probe_freq": 5}, "a controller ended"),
        ([first], {"gold": []}, "gold has 0 entries for 1 questions"),
    ]:
        with pytest.raises(ValueError, match=message):
            recorded.write_released(questions, path, **options)  # type: ignore[arg-type]


def test_mutated_files_are_replayed_or_refused(tmp_path: Path) -> None:
    draw = random.Random(11)
    sources = {"r.json": json.dumps(records(0, questions=2, branches=4)).encode(), "t.jsonl": lines(TRACE).encode()}
    refused: list[str] = []
    for _ in range(600):
        name = draw.choice(list(sources))
        content = bytearray(sources[name])
        for _ in range(draw.choice([1, 1, 2, 5])):
            at = draw.randrange(len(content))
            kind = draw.randrange(4)
            if kind == 0:
                content[at] = draw.randrange(256)
            elif kind == 1:
                del content[at : at + draw.randrange(1, 60)]
            elif kind == 2:
                content[at:at] = draw.choice([b"-", b"9" * 30, b"null", b"[", b'"', b"1e999", b"\\ud800", b"{}"])
            else:
                del content[max(at, 1) :]
        path = tmp_path / name
        path.write_bytes(bytes(content))
        for controller in (fs.SelfConsistency(2), fs.ParallelProbe(2, interval=10, stable=2)):
            try:
                fs.replay(path, controller, draws=3)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 300
    assert all(str(tmp_path) in message for message in refused)


# --- The command ---


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one.json", records(1))
    two = write(tmp_path / "two.json", records(2, questions=2))
    options = ["--controller", "shortest_first", "--set", "width=12", "--set", "count=3", "--draws", "20"]
    assert main(["replay", str(one), str(two), *options]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "shortest_first  width=12, count=3"
    assert shown[1].split() == ["file", "questions", "accuracy", "sequential", "total", "probes", "as", "full", "vote"]
    assert [line.split()[0] for line in shown[2:]] == ["one.json", "two.json", "average"]
    assert max(map(len, shown)) <= 100
    assert main(["replay", str(one), str(two), *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (expected,) = fs.replay(one, fs.ShortestFirst(12, count=3), draws=20)
    assert report["files"][0]["total_tokens"] == pytest.approx(expected.total_tokens)
    assert report["files"][0]["accuracy"] == pytest.approx(expected.accuracy)
    totals = [row["total_tokens"] for row in report["files"]]
    assert report["average"]["total_tokens"] == pytest.approx(sum(totals) / 2)
    assert (report["controller"], report["count"], report["draws"]) == ("shortest_first", 3, 20)


def test_the_command_without_right_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "trace.jsonl", lines([request(0, 0), start(0, 0), end(0, "finished", 7, "a")]))
    assert main(["replay", str(path), "--controller", "self_consistency", "--width", "1"]) == 0
    assert "unknown" in capsys.readouterr().out
    assert main(["replay", str(path), "--controller", "self_consistency", "--width", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["accuracy"] is None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--controller", "majority"], 2, "controller 'majority' is not known; known are adaptive_consistency"),
        (["--controller", "beta_stop", "--set", "depth=3"], 2, "has no option 'depth'"),
        (["--controller", "beta_stop", "--set", "confidence=2"], 2, "confidence is 2, expected above 0"),
        (["--controller", "waves", "--width", "4"], 2, "Waves has no width"),
        (["--controller", "beta_stop", "--draws", "-1"], 2, "--draws"),
        ([], 2, "--controller"),
        (["--controller", "deep_conf"], 1, "no confidence is recorded"),
        (["--controller", "deep_conf", "--set", "width=20"], 1, "no confidence is recorded"),
    ],
)
def test_the_commands_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    path = write(tmp_path / "one.json", records(1))
    assert main(["replay", str(path), *options]) == code
    assert message in capsys.readouterr().err.replace("\n", " ")
