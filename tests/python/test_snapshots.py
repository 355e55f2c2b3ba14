"""How branches stand while they run: snapshots of a live call, and what is made of the core's records."""

from __future__ import annotations

import math

import pytest

import foresight as fs
from foresight import streaming
from foresight.snapshots import Snapshot, snapshot_of


def record(status: str, num_tokens: int, answer: str | None, **more: object) -> dict[str, object]:
    plain = {"probes": [], "confidence": math.nan, "start": 0, "inherited": 0}
    return {"status": status, "num_tokens": num_tokens, "answer": answer, **plain, **more}


def test_the_clock_and_the_votes() -> None:
    snapshot = snapshot_of(
        [
            record("finished", 30, "2"),
            record("pruned", 80, "1"),
            record("running", 60, "1", probes=[(20, None), (40, "1")], start=40, inherited=15, confidence=0.5),
            record("running", 10, None),
            record("stopped", 50, "1"),
        ]
    )
    assert snapshot["clock"] == 40 + 60 - 15
    assert list(snapshot["votes"].items()) == [("1", 2.0), ("2", 1.0)]
    assert [branch["probes"] for branch in snapshot["branches"]] == [0, 0, 2, 0, 0]
    assert [branch["confidence"] for branch in snapshot["branches"]] == [None, None, 0.5, None, None]
    assert snapshot_of([]) == {"branches": [], "votes": {}, "clock": 0}


def test_a_live_call_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_WATCH_SECONDS", 0.0)
    lm, task = fs.LM.bundled("reasoner"), fs.tasks.get("reasoner")
    prompts = [problem.prompt for problem in task.problems(3)]
    options = {
        "branches": fs.ParallelProbe(6, interval=8, stable=4),
        "do_sample": True,
        "seed": 3,
        "return_dict_in_generate": True,
    }
    seen: list[tuple[int, Snapshot]] = []
    watched = dict(lm.generate_iter(prompts, watch=lambda *news: seen.append(news), **options))
    plain = dict(lm.generate_iter(prompts, **options))
    assert sorted(watched) == sorted(plain) == [0, 1, 2]
    for index, out in watched.items():
        assert out.new_tokens == plain[index].new_tokens
        assert out.branches == plain[index].branches
    first = [snapshot for index, snapshot in seen if index == 0]
    assert len(first) > 10
    assert first[0]["clock"] < first[len(first) // 2]["clock"]
    assert any(branch["status"] == "running" for branch in first[1]["branches"])
    last = first[-1]
    assert [branch["status"] for branch in last["branches"]] == [branch.status for branch in watched[0].branches[0]]
    assert [branch["num_tokens"] for branch in last["branches"]] == [len(b.tokens) for b in watched[0].branches[0]]
    assert last["clock"] == watched[0].stats.sequential_tokens


def test_there_is_nothing_to_watch_without_branches() -> None:
    lm = fs.LM.bundled("reasoner")
    with pytest.raises(ValueError, match="nothing to watch"):
        lm.generate_iter([[5]], watch=lambda *_: None)
