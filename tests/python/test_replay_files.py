"""Files that are replayed, files that are none, and the command."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from foresight import recorded
from foresight.cli import main
from support.recorded import Records, confidence, end, event, lines, probe, records, request, start, write

# --- Files ---


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
