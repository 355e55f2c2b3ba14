"""Controllers of one's own in replay, and the options of all of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import foresight as fs
from foresight.branches import Branches
from support.recorded import records

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
