"""`foresight demo`: its numbers against a model whose answers are known, and its looks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from foresight.cli import demo, demo_sudoku, loading, main, measure
from foresight.cli.screen import Screen
from foresight.tasks import get
from support.fake_lm import FakeLM
from support.terminal import Terminal


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> FakeLM:
    """Three of four thoughts are right."""
    fake = FakeLM()
    load = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda name, **o: fake if "reasoner" in name else load(name, **o))
    monkeypatch.setattr(demo_sudoku, "SECONDS_PER_FRAME", 0.0)
    return fake


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["demo", "--json", "--puzzles", "3", *words]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_numbers(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    result = report(capsys, "--problems", "3", "--width", "8")
    assert (result["problems"], result["width"], result["seed"]) == (3, 8, 0)
    assert result["single_accuracy"] == 0.75
    assert result["tokens_per_second"] > 0
    assert result["threads"] >= 1
    found = result["controllers"]
    assert [entry["controller"] for entry in found.values()] == ["SelfConsistency", "ParallelProbe", "LikelyLead"]
    assert {entry["accuracy"] for entry in found.values()} == {1.0}
    assert {entry["width"] for entry in found.values()} == {8}
    longest = [written(lm, index) for index in range(3)]
    for entry in found.values():
        assert entry["sequential_tokens"] == round(sum(longest) / 3, 2)
        assert entry["seconds"] >= 0
    assert found["full vote"]["probe_tokens"] == 0
    assert found["parallel probe"]["probe_tokens"] == 3 * 8
    assert found["parallel probe"]["total_tokens"] == round(found["full vote"]["total_tokens"] + 3 * 8, 2)


def written(lm: FakeLM, index: int) -> int:
    """The longest thought about problem number `index` of the comparison."""
    (prompt,) = lm.calls[3]["inputs"][index : index + 1]
    again = FakeLM().generate([prompt], num_return_sequences=8, return_dict_in_generate=True)
    return max(map(len, again.new_tokens))


def test_the_problems_are_held_out_and_measured_ones_are_not_shown(lm: FakeLM) -> None:
    assert main(["demo", "--puzzles", "3", "--problems", "2", "--width", "4", "--seed", "5"]) == 0
    held_out = [problem.prompt for problem in get("reasoner").problems(5, 5, "test")]
    shown, same, traced, *compared = lm.calls
    assert shown["inputs"] == same["inputs"] == traced["inputs"]
    assert shown["inputs"][0] in held_out[:3]
    assert same["num_return_sequences"] == 4
    assert traced["branches"].width == 4
    assert len(compared) == 3
    for call in compared:
        assert call["inputs"] == held_out[3:]
        assert call["do_sample"] is True
        assert call["seed"] == compared[0]["seed"]


def test_many_problems_are_solved_a_batch_after_the_other(
    lm: FakeLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once = report(capsys, "--problems", "5", "--width", "4")
    lm.calls.clear()
    monkeypatch.setattr(measure, "PROBLEMS_AT_ONCE", 2)
    in_batches = report(capsys, "--problems", "5", "--width", "4")
    compared = lm.calls[3:]
    assert [len(call["inputs"]) for call in compared] == [2, 2, 2, 2, 2, 2, 1, 1, 1]
    assert len({tuple(call["seed"]) for call in compared}) == 3
    for name, entry in in_batches["controllers"].items():
        same = at_once["controllers"][name]
        for key in entry.keys() - {"seconds", "forwards"}:
            assert entry[key] == same[key]


def test_seeds(lm: FakeLM) -> None:
    for seed in ("0", "0", "1"):
        assert main(["demo", "--puzzles", "3", "--problems", "2", "--width", "2", "--seed", seed]) == 0
    seeds = [[tuple(call["seed"]) for call in lm.calls[run * 6 : run * 6 + 4]] for run in range(3)]
    assert seeds[0] == seeds[1]
    assert {*seeds[0]} & {*seeds[2]} == set()
    assert all(len({*shown, *compared}) == 3 for shown, _, _, compared in seeds)


def test_votes_and_silence() -> None:
    problems = get("reasoner").problems(2)
    answers = [problems[0].answer, None, None, "99", None, None, None, None]
    samples = measure.Samples(problems, 4, [[1]] * 8, answers, 1, 8, 1.0)
    assert samples.votes(0) == {problems[0].answer: 1, "99": 1}
    assert samples.votes(1) == {}


@pytest.mark.parametrize(("seconds", "count"), [(0.001, 24), (1.0, 4), (30.0, 2)])
def test_slow_machines_measure_fewer_problems(seconds: float, count: int) -> None:
    first = measure.Samples([], 32, [[1] * 100] * 32, [], 1, 1, seconds)
    assert demo._affordable(first, spent=5.0) == count


def test_no_terminal_no_escapes(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--puzzles", "3", "--problems", "2", "--width", "4"]) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out
    assert "\r" not in captured.out
    assert captured.err == ""
    for text in (
        "75.0%",
        "6 of 8",
        "100.0%",
        "2 of 2",
        "parallel_probe: 4 branches",
        "sequential",
        "tokens per second",
        "seed 0",
    ):
        assert text in captured.out


@pytest.mark.parametrize("columns", [80, 120])
def test_lines_fit(
    columns: int, lm: FakeLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["demo", "--puzzles", "3", "--problems", "2", "--width", "32"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= min(columns, 100)


def test_colour_at_a_terminal_unless_told_otherwise(lm: FakeLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for variable, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", variable)
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["demo", "--puzzles", "3", "--problems", "2", "--width", "4"]) == 0
        assert ("\x1b[1m" in terminal.getvalue()) is coloured


def test_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    assert screen.bar(0, 4) == "    "
    assert screen.bar(1, 4) in ("\u2588" * 4, "####")
    assert all(len(screen.bar(step / 64, 7)) == 7 for step in range(65))
    screen._blocks = False
    assert screen.bar(0.5, 4) == "##  "


def test_the_dial(lm: FakeLM, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "dial.png"
    found = report(capsys, "--problems", "2", "--width", "2", "--puzzles", "40", "--png", str(picture))["sudoku"]
    assert found["puzzles"] == 40
    assert list(found["accuracy"]) == ["0", "2", "8", "all"]
    assert found["accuracy"]["all"] >= 0.85
    rows = list(found["rows_per_puzzle"].values())
    assert rows == sorted(rows)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_branches_as_a_picture(lm: FakeLM, tmp_path: Path) -> None:
    picture = tmp_path / "branches.png"
    words = ["--problems", "1", "--width", "4", "--puzzles", "1"]
    assert main(["demo", *words, "--branches-png", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_grid_is_redrawn_at_a_terminal(lm: FakeLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["demo", "--puzzles", "3", "--problems", "2", "--width", "2"]) == 0
    assert terminal.getvalue().count("\x1b[6A") >= 20


@pytest.mark.slow
def test_the_real_thing_is_quick_and_repeatable(capsys: pytest.CaptureFixture[str]) -> None:
    first = report(capsys, "--problems", "6", "--width", "8")
    second = report(capsys, "--problems", "6", "--width", "8")
    # How prompts are cut into forwards depends on how fast the machine is at the moment.
    for key in (key for key in first if "second" not in key and key not in ("controllers", "sudoku")):
        assert first[key] == second[key], key
    for name, entry in first["controllers"].items():
        for key in entry.keys() - {"seconds", "forwards", "rows"}:
            assert entry[key] == second["controllers"][name][key], (name, key)
    assert first["sudoku"]["accuracy"] == second["sudoku"]["accuracy"]
    assert 0.2 < first["single_accuracy"] < 1
    full, probed, auto = first["controllers"].values()
    assert full["accuracy"] >= first["single_accuracy"]
    assert probed["probe_tokens"] > 0
    assert probed["sequential_tokens"] < full["sequential_tokens"]
    assert auto["sequential_tokens"] <= full["sequential_tokens"]
    assert first["total_seconds"] < 60
