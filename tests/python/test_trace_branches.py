"""`foresight trace show` of a controlled request: what it reads, refuses and draws."""

from __future__ import annotations

import copy
import json
import random
import re
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from foresight.cli import main
from foresight.cli.screen import columns_of, padded, short
from foresight.trace_branches import read_branches
from foresight.trace_file import read_trace
from support.branch_trace import branch_trace
from support.terminal import Terminal

REQUEST: dict[str, Any] = {
    "kind": "request",
    "seconds": 0.0,
    "branch": 0,
    "request": 0,
    "sequences": 0,
    "max_length": 99,
    "seed": "7",
    "prompt": [5, 6],
    "masks": [],
    "controller": "parallel_probe",
    "probe_interval": 4,
}

PLAIN = {name: 1 if name == "sequences" else value for name, value in REQUEST.items() if name != "controller"}


def start(number: int, parent: int = -1, inherited: int = 0, clock: int = 0, **fields: Any) -> dict[str, Any]:
    event = {"kind": "start", "branch": number, "request": 0, "number": number, "parent": parent}
    return {**event, "inherited": inherited, "clock": clock, **fields}


def probe(branch: int, num_tokens: int, answer: str | None = None) -> dict[str, Any]:
    event = {"kind": "probe", "branch": branch, "num_tokens": num_tokens, "probe_tokens": 3}
    return event if answer is None else {**event, "answer": answer}


def end(branch: int, status: str, num_tokens: int, clock: int, answer: str | None = None) -> dict[str, Any]:
    event = {"kind": "end", "branch": branch, "status": status, "num_tokens": num_tokens, "clock": clock}
    return {**event, "reason": "why", **({} if answer is None else {"answer": answer})}


def step(index: int) -> dict[str, Any]:
    return {"kind": "step", "seconds": 0.1, "step": index, "rows": 2}


def commit(index: int, branch: int, final: int) -> dict[str, Any]:
    event = {"kind": "commit", "step": index, "branch": branch, "positions": [1 + final], "tokens": [9]}
    return {**event, "confidences": [], "final": final}


OUTCOME = {"kind": "outcome", "request": 0, "winner": 1, "clock": 9, "reason": "stable", "answer": "8"}
EVENTS = [
    REQUEST,
    start(0),
    start(1),
    step(0),
    commit(0, 0, 1),
    commit(0, 1, 1),
    probe(0, 4, "7"),
    probe(1, 4, "8"),
    {"kind": "confidence", "branch": 1, "num_tokens": 4, "value": 0.5},
    start(2, parent=0, inherited=4, clock=4),
    end(0, "pruned", 6, 6, "7"),
    end(1, "finished", 7, 7, "8"),
    probe(2, 8),
    end(2, "stopped", 9, 9),
    OUTCOME,
]


def written(path: Path, events: list[Any], ending: str = "") -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + ending)
    return path


def test_a_request_by_hand() -> None:
    trace = read_branches(EVENTS)
    assert (trace.controller, trace.probe_interval, trace.num_prompt_tokens) == ("parallel_probe", 4, 2)
    assert [(b.status, b.num_tokens, b.clock, b.answer) for b in trace.branches] == [
        ("pruned", 6, 6, "7"),
        ("finished", 7, 7, "8"),
        ("stopped", 9, 9, None),
    ]
    assert trace.branches[2].parent == 0
    assert trace.branches[1].confidences == [(4, 0.5)]
    assert (trace.clock, trace.total_tokens, trace.num_probes, trace.probe_tokens) == (9, 6 + 7 + 5, 3, 9)
    assert trace.votes == {"8": 1}
    assert trace.ranked_answers == ["8", "7"]
    assert trace.vote_series(["8"]) == [(4, [1, 1]), (6, [1, 0])]
    assert trace.branches[0].stretches() == [(0, 4, None), (4, 6, "7")]
    assert trace.branches[2].stretches() == [(4, 8, None), (8, 9, None)]
    assert (trace.winner, trace.answer, trace.reason, trace.outcome_clock) == (1, "8", "stable", 9)


def test_a_sequence_of_a_controlled_request_has_an_order_map() -> None:
    trace = read_trace(EVENTS, 1)
    assert (trace.prompt, trace.finish_reason, trace.new_tokens, trace.num_sequences) == ([5, 6], "why", 7, 3)
    assert [(s.index, s.final) for s in trace.steps] == [(0, 3)]
    with pytest.raises(ValueError, match="there is no sequence 3; its branches are 0, 1, 2"):
        read_trace(EVENTS, 3)
    with pytest.raises(ValueError, match="there is no sequence 0; its branches are none"):
        read_trace([REQUEST])


def test_votes_over_time_are_counted_again_at_every_event() -> None:
    events = branch_trace(32, rounds=15, seed=5, forks=3)
    trace = read_branches(events)
    answers = trace.ranked_answers[:3]
    series = dict(trace.vote_series(answers))
    numbers: dict[int, str] = {}
    started: dict[int, Any] = {event["branch"]: event for event in events if event["kind"] == "start"}
    expected: dict[int, list[int]] = {}
    clock = 0
    for event in events:
        if event["kind"] not in ("probe", "end"):
            continue
        begun = started[event["branch"]]
        at = event.get("clock", begun["clock"] + event["num_tokens"] - begun["inherited"])
        clock = max(clock, at)
        numbers.pop(event["branch"], None)
        if "answer" in event and event.get("status") != "pruned":
            numbers[event["branch"]] = event["answer"]
        votes = [sum(said == answer for said in numbers.values()) for answer in answers]
        expected[clock] = [*votes, len(numbers) - sum(votes)]
    known: list[int] = [0] * 4
    for at, votes in sorted(expected.items()):
        known = series.get(at, known)
        assert known == votes
    assert list(trace.votes.values()) == sorted(trace.votes.values(), reverse=True)
    assert sum(trace.votes.values()) == sum(expected[max(expected)])


def test_a_run_that_was_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in range(2, len(EVENTS)):
        path = written(tmp_path / "t.jsonl", EVENTS[:count], '{"kind":"pro')
        assert (
            main(["trace", "show", str(path), "--png", str(tmp_path / "a.png"), "--html", str(tmp_path / "a.html")])
            == 0
        )
        out = capsys.readouterr().out
        assert "not finished" in out
        assert "cut off" in out
    trace = read_branches(EVENTS[:6])
    assert [(b.status, b.num_tokens) for b in trace.branches] == [("running", 1), ("running", 1)]
    assert main(["trace", "show", str(written(tmp_path / "t.jsonl", [REQUEST]))]) == 0


def test_requests_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = {**REQUEST, "request": 1}
    both = [REQUEST, second, start(0), {**start(1), "number": 0, "request": 1}, probe(1, 4, "9"), probe(0, 4, "7")]
    path = written(tmp_path / "t.jsonl", both)
    for request, answer in ((0, "7"), (1, "9")):
        assert main(["trace", "show", str(path), "--request", str(request), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["votes"] == {answer: 1}
        assert found["requests"] == [0, 1]
        assert [branch["sequence"] for branch in found["branches"]] == [request]
    assert main(["trace", "show", str(path)]) == 0
    assert "request 0 of 2" in capsys.readouterr().out
    assert main(["trace", "show", str(path), "--request", "2"]) == 1
    assert "there is no request 2 with a controller; those with one: 0, 1" in capsys.readouterr().err


def test_sequences_need_not_be_numbered_in_the_order_of_their_starts() -> None:
    names = {0: 7, 1: 3, 2: 12}
    events = [{**e, "branch": names[e["branch"]]} if "branch" in e and e["kind"] != "request" else e for e in EVENTS]
    trace = read_branches(events)
    assert [(b.number, b.sequence) for b in trace.branches] == [(0, 7), (1, 3), (2, 12)]
    assert trace.votes == {"8": 1}
    assert read_trace(events, 3).new_tokens == 7
    with pytest.raises(ValueError, match="event 2: sequence 4 was never requested"):
        read_branches([REQUEST, probe(4, 4)])
    with pytest.raises(ValueError, match="event 3: sequence 0 was never requested"):
        read_branches([REQUEST, {**start(0), "branch": 3}, probe(0, 4)])


def changed(at: int, **fields: Any) -> list[Any]:
    events = copy.deepcopy(EVENTS)
    events[at].update(fields)
    return events


def without(at: int, name: str) -> list[Any]:
    events = copy.deepcopy(EVENTS)
    del events[at][name]
    return events


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (changed(0, sequences=2), "line 1: a request of 2 sequences"),
        (without(0, "controller"), "line 1: a request of 0 sequences"),
        (changed(0, controller=7), "line 1: controller is 7"),
        (changed(0, controller="x" * 999), "controller is 'xxx"),
        (changed(0, probe_interval=-1), "probe_interval is -1"),
        (changed(0, prompt=None), "prompt is not a list"),
        ([REQUEST, REQUEST], "line 2: request 0 comes twice"),
        (changed(1, request=1), "line 2: a branch starts for request 1, which has no controller"),
        (changed(2, branch=0), "line 3: sequence 0 starts twice"),
        ([REQUEST, {**REQUEST, "sequences": 1, "controller": "x"}], "line 2: a request of 1 sequences"),
        ([REQUEST, PLAIN], "line 2: a request with a controller and one without"),
        ([PLAIN, {**REQUEST, "branch": 1}], "line 2: a request with a controller and one without"),
        (changed(2, number=0), "line 3: branch 0 starts twice"),
        (changed(2, number=-1), "number is -1"),
        (changed(1, inherited=1), "inherited is 1, but there is no parent"),
        (changed(9, parent=2), "line 10: parent is 2"),
        (changed(9, parent=True), "parent is True"),
        (changed(9, parent=-2), "parent is -2"),
        (changed(9, clock=1.5), "clock is 1.5"),
        (changed(6, branch=2), "line 7: sequence 2 was never requested"),
        (changed(6, num_tokens=-4), "line 7: num_tokens is -4"),
        (changed(6, probe_tokens="3"), "line 7: probe_tokens is '3'"),
        (changed(6, answer=7), "line 7: answer is 7"),
        (changed(6, answer="x" * 5000), "line 7: answer is 'xxx"),
        (changed(7, branch=0, num_tokens=3), "line 8: a probe at 3 tokens, after one at 4"),
        (changed(8, value=float("nan")), "line 9: value is nan"),
        (changed(8, value=None), "value is None"),
        (changed(10, status="killed\x1b[2J"), "line 11: the status"),
        (changed(10, reason=None), "reason is None"),
        (changed(10, reason="x" * 999), "reason is 'xxx"),
        (without(10, "clock"), "clock is None"),
        (changed(13, num_tokens=3), "num_tokens is 3, less than the 4 inherited ones"),
        (changed(11, branch=0), "line 12: an event of branch 0 (end) after its end"),
        (changed(14, winner=3), "line 15: winner is 3"),
        (changed(14, winner=None), "winner is None"),
        (changed(14, request=4), "an outcome of request 4, which has no controller"),
        ([*EVENTS, OUTCOME], "line 16: an event of request 0 after its outcome"),
        ([*EVENTS, probe(2, 9)], "line 16: an event of request 0 after its outcome"),
    ],
)
def test_what_is_not_a_trace(
    events: list[Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "bad.jsonl", events)
    assert main(["trace", "show", str(path), "--request", "0"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "\x1b" not in captured.err
    assert len(captured.err) < 400
    assert message in captured.err


@pytest.mark.parametrize("columns", ["60", "64", "80", "120"])
@pytest.mark.parametrize("width", [1, 3, 64, 200])
def test_lines_fit(
    columns: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    path = written(tmp_path / "t.jsonl", branch_trace(width, forks=width // 8, rounds=20, interval=50_000))
    assert main(["trace", "show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= min(int(columns), 100)
    assert len(lines) < 110
    assert "\x1b" not in "".join(lines)


def test_the_winner_is_shown_whatever_else_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = branch_trace(64, rounds=20)
    winner = events[-1]["winner"]
    lengths = {event["branch"]: event["num_tokens"] for event in events if event["kind"] == "end"}
    longest = sorted(lengths, key=lambda n: (-lengths[n], n))[:4]
    assert winner not in longest
    assert main(["trace", "show", str(written(tmp_path / "t.jsonl", events)), "--rows", "5"]) == 0
    out = capsys.readouterr().out
    shown = [int(n) for n in re.findall(r"^>? +(\d+) [ \u2500\u2514]+\S", out.split("...")[0], re.MULTILINE)]
    assert shown == sorted([winner, *longest])
    assert re.search(rf"^> +{winner} ", out, re.MULTILINE)
    assert "and 59 other branches" in out


def test_marks_and_letters_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", str(written(tmp_path / "t.jsonl", EVENTS))]) == 0
    lines = capsys.readouterr().out.splitlines()
    zero, one, two = (next(line for line in lines if re.match(rf">?\s+{n} ", line)) for n in range(3))
    assert re.fullmatch(r" +0 \u2500+B\u2500+\u00d7 +6 7", zero)
    assert re.fullmatch(r"> +1 \u2500+A\u2500+\u25cf +7 8", one)
    assert re.fullmatch(r" +2 +from 0 \u2514\u2500+\.\u2500+\u2524 +9", two)
    assert one.index("A") == zero.index("B") == two.index("\u2514")
    assert "answer 8 of branch 1 at 9: stable" in lines
    assert any(re.fullmatch(r"  A 8 +1  the outcome", line) for line in lines)


def test_without_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "t.jsonl", EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr("foresight.cli.screen._encodes", lambda text, stream: text.isascii())
        assert main(["trace", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert re.search(r"^ +2 +from 0 `-+\.-+\] +9$", out, re.MULTILINE)


def test_colour_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t.jsonl", branch_trace(100))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["trace", "show", str(path)]) == 0
    text = terminal.getvalue()
    assert "38;5;32" in text
    assert "30;48;5;32" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert max(map(len, plain)) <= 80
    assert any("and 88 other branches" in line for line in plain)


@pytest.mark.parametrize(
    ("answer", "room", "expected"),
    [
        ("204", 5, "204"),
        ("abcdef", 5, "ab..."),
        ("a\n b\x1b[2J", 9, "a b [2J"),
        (None, 5, ""),
        ("abc", 2, ".."),
        ("\u7b54\u6848\u662f", 5, "\u7b54..."),
        ("\u7b54", 2, "\u7b54"),
        ("e\u0301" * 3, 3, "e\u0301" * 3),
        ("x" * 10**6, 4, "x..."),
    ],
)
def test_answers_are_shortened(answer: str | None, room: int, expected: str) -> None:
    assert short(answer, room) == expected
    assert columns_of(expected) <= room
    assert columns_of(padded(expected, room)) == room


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps what refers to elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        assert not {"src", "href", "onload", "onclick"} & {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = '<script>alert("1")</script>&amp;'
    events = branch_trace(16, forks=2, answer=evil)
    for event in events:
        if event["kind"] == "end":
            event["reason"] = evil
    target = tmp_path / "page.html"
    assert main(["trace", "show", str(written(tmp_path / "<b>.jsonl", events)), "--html", str(target)]) == 0
    text = target.read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert "script" not in page.seen
    assert "http" not in text
    assert "url(" not in text
    svg = re.search(r"<svg.*?</svg>", text, re.DOTALL)
    assert svg is not None
    drawing = ElementTree.fromstring(svg[0])
    groups = [group for group in drawing.iter("g") if "branch" in group.get("class", "")]
    trace = read_branches(events)
    assert len(groups) == 16
    for group, branch in zip(groups, trace.branches, strict=True):
        title = group.findtext("title") or ""
        assert title.startswith(f"branch {branch.number}: {branch.status} at {branch.num_tokens:,} tokens")
        assert evil in title
        notches = [path.get("d", "") for path in group.iter("path") if path.get("class") == "notch"]
        assert sum(d.count("M") for d in notches) == len(branch.probes)
        for bar in group.iter("rect"):
            assert float(bar.get("width", "0")) >= 0
    assert sum("winner" in group.get("class", "") for group in groups) == 1
    assert len(re.findall(r"<tr[ >]", text)) == 17


def test_the_picture_shows_every_branch(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection

    events = branch_trace(32, forks=3, rounds=10)
    for event in events:
        if event.get("answer") == "17":
            event["answer"] = "$\\frac{$ \n"
    trace = read_branches(events)
    figure = fs.plots.branches(events)
    figure.savefig(tmp_path / "a.png")
    axes, votes = figure.axes
    (bars,) = (c for c in axes.collections if isinstance(c, PolyCollection) and len(c.get_paths()) > 1)
    (notches,) = (c for c in axes.collections if isinstance(c, LineCollection))
    assert len(bars.get_paths()) == sum(len(branch.stretches()) for branch in trace.branches)
    assert len(notches.get_paths()) == trace.num_probes
    ends = sorted(tuple(o) for c in axes.collections if isinstance(c, PathCollection) for o in c.get_offsets())
    assert ends == sorted((float(b.clock), float(row)) for row, b in enumerate(trace.branches))
    shares = [c for c in votes.collections if isinstance(c, PolyCollection)]
    tops = [max(y for _, y in c.get_paths()[0].vertices) for c in shares]
    assert max(tops) == pytest.approx(1.0)
    assert trace.answer == "204"
    assert "answer 204 of branch" in figure.get_suptitle()
    legends = [axes.get_legend(), votes.get_legend()]
    assert any("204" in text.get_text() for text in legends[0].get_texts())


def test_pictures_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("foresight.plots.branch_map.MOST_MARKS", 5)
    path = str(written(tmp_path / "t.jsonl", EVENTS))
    for option in ("--png", "--html"):
        target = tmp_path / "picture"
        assert main(["trace", "show", path, option, str(target)]) == 1
        assert "6 branches and probes are too many" in capsys.readouterr().err
        assert not target.exists()


WEIRD: list[Any] = [
    *(None, True, -1, 0, 1, 2**53, 2**60, 1.5, 1e300, float("nan"), "", "x", "x" * 600, "204", "end", [], {}, [1]),
    *("\x1b[2J", "\ud800", "\u202e$\\frac{", "\u7b54" * 9),
]


def mutated(rng: random.Random) -> list[Any]:
    events = branch_trace(8, rounds=6, forks=2)
    for _ in range(rng.randint(1, 3)):
        at, other, what = rng.randrange(len(events)), rng.randrange(len(events)), rng.randrange(5)
        name = rng.choice(list(events[at]))
        if what == 0:
            del events[at]
        elif what == 1:
            events.insert(other, dict(events[at]))
        elif what == 2:
            events[at], events[other] = events[other], events[at]
        elif what == 3 and len(events[at]) > 1:
            del events[at][name]
        else:
            events[at][name] = rng.choice(WEIRD)
    return events


def test_mutations_are_shown_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(0)
    results = set()
    for _ in range(300):
        path, page = written(tmp_path / "t.jsonl", mutated(rng)), tmp_path / "t.html"
        status = main(["trace", "show", str(path), "--request", "0", "--html", str(page)])
        captured = capsys.readouterr()
        assert status == 0 or captured.err.count("\n") == 1
        assert "--debug shows where" not in captured.err
        assert "\x1b" not in captured.out + captured.err
        results.add(status)
    assert results == {0, 1}


@pytest.mark.parametrize("text", [one for one in WEIRD if isinstance(one, str) and one])
def test_any_text_can_be_drawn(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = branch_trace(8, rounds=6, answer=text)
    events[0]["controller"] = text[:200]
    for event in events:
        if "reason" in event:
            event["reason"] = text[:500]
    path = str(written(tmp_path / "t.jsonl", events))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a font that lacks it
        assert main(["trace", "show", path, "--png", str(tmp_path / "a.png"), "--html", str(tmp_path / "a.html")]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path / "t.jsonl", EVENTS))
    assert main(["trace", "show", path, "--branch", "1"]) == 0
    assert "sequence 1 of 3" in capsys.readouterr().out
    assert main(["trace", "show", path, "--branch", "1", "--request", "0"]) == 1
    assert "give one of them" in capsys.readouterr().err
    assert main(["trace", "show", path, "--columns", "5"]) == 1
    assert "give one of them" in capsys.readouterr().err
    assert main(["trace", "show", path, "--branch", "1", "--rows", "5"]) == 1
    assert "--rows is for the branches of a controller" in capsys.readouterr().err
    assert main(["trace", "show", path, "--rows", "0"]) == 2
    plain = {**REQUEST, "sequences": 1}
    del plain["controller"]
    path = str(written(tmp_path / "plain.jsonl", [plain]))
    assert main(["trace", "show", path, "--request", "0"]) == 1
    assert "no request of this trace has a controller" in capsys.readouterr().err
    assert main(["trace", "show", path, "--html", str(tmp_path / "a.html")]) == 1
    assert "--html is for the branches of a controller" in capsys.readouterr().err


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    path = str(written(tmp_path / "t.jsonl", EVENTS))
    assert main(["trace", "show", path, "--png", str(tmp_path / "a.png")]) == 1
    assert "pip install 'foresight-lm[plots]'" in capsys.readouterr().err
    assert main(["trace", "show", path, "--html", str(tmp_path / "a.html")]) == 0
