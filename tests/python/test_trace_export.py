"""`foresight trace export`: our traces in the released format, read back as what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight.cli import main
from foresight.recorded import read
from foresight.trace_branches import read_branches, read_requests
from support.branch_trace import branch_trace


def events_of(requests: int = 2) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for request in range(requests):
        events += branch_trace(
            6,
            rounds=9,
            seed=request,
            request=request,
            first=6 * request,
            interval=50,
            patience=None,
            answer=f"{request}",
        )
    return events


def written(path: Path, events: list[Any]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_the_released_file_holds_what_the_trace_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(tmp_path / "t.jsonl", events_of()), tmp_path / "out.json"
    (tmp_path / "gold.txt").write_text("0\n1\n")
    (tmp_path / "questions.txt").write_text("why?\nhow?\n")
    options = ["--gold", str(tmp_path / "gold.txt"), "--questions", str(tmp_path / "questions.txt")]
    assert main(["trace", "export", str(path), "--released", str(out), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2 questions with 12 branches" in captured.err
    content = json.loads(out.read_text())
    assert [(item["question"], item["gold_answer"], item["probe_freq"]) for item in content] == [
        ("why?", "0", 50),
        ("how?", "1", 50),
    ]
    for item, trace in zip(content, read_requests(path), strict=True):
        for (answers, tokens, final), branch in zip(item["each_branch"], trace.branches, strict=True):
            assert answers == [probe.answer or "ERR" for probe in branch.probes]
            assert (tokens, final) == (branch.num_tokens, branch.answer)
    questions = read(out).questions
    assert [question.gold for question in questions] == ["0", "1"]
    assert [len(question.branches) for question in questions] == [6, 6]


def test_every_request_is_what_it_is_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", events_of(3))
    assert [trace.branches for trace in read_requests(path)] == [read_branches(path, i).branches for i in range(3)]
    assert [trace.request for trace in read_requests(path)] == [0, 1, 2]


def test_a_trace_without_probes_needs_no_frequency(tmp_path: Path) -> None:
    events = [event for event in events_of(1) if event["kind"] != "probe"]
    del events[0]["probe_interval"]
    out = tmp_path / "out.json"
    assert main(["trace", "export", str(written(tmp_path / "t.jsonl", events)), "--released", str(out)]) == 0
    ends = {event["branch"]: event for event in events if event["kind"] == "end"}
    branches = json.loads(out.read_text())[0]["each_branch"]
    assert branches == [[[], ends[i]["num_tokens"], ends[i]["answer"]] for i in range(6)]


def test_what_the_format_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(events: list[Any], *options: str) -> str:
        out = tmp_path / "out.json"
        assert (
            main(["trace", "export", str(written(tmp_path / "t.jsonl", events)), "--released", str(out), *options]) == 1
        )
        assert not out.exists()
        return capsys.readouterr().err

    assert "a controller ended it" in refused(branch_trace(8, seed=3))
    assert "a fork of branch" in refused(branch_trace(8, forks=2, patience=None))
    assert "probe 1 lies at 50 tokens, and the released format has it at 40" in refused(
        events_of(), "--probe-freq", "40"
    )
    assert "the trace ends before its first branch" in refused(events_of()[:1])
    events = events_of(1)
    del events[0]["probe_interval"]
    assert "--probe-freq does" in refused(events)
    plain = {**events[0], "sequences": 1}
    del plain["controller"]
    assert "no trace of branches" in refused([plain])
    (tmp_path / "gold.txt").write_text("0\n")
    assert "gold has 1 entries for 2 questions" in refused(events_of(), "--gold", str(tmp_path / "gold.txt"))
    (tmp_path / "gold.txt").write_bytes(b"\xff\n")
    assert "not UTF-8" in refused(events_of(), "--gold", str(tmp_path / "gold.txt"))
    assert "No such file" in refused(events_of(), "--gold", str(tmp_path / "none.txt"))
    assert main(["trace", "export", str(tmp_path / "t.jsonl")]) == 2
