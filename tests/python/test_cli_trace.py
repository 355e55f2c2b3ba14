"""`foresight trace show` and the order map: what they tell of real runs, and what they say of other files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from foresight import trace_events, trace_file
from foresight.cli import main
from foresight.trace_file import read_trace
from support.terminal import Terminal

REQUEST: dict[str, Any] = {
    "kind": "request",
    "seconds": 0.0,
    "branch": 0,
    "request": 0,
    "sequences": 2,
    "max_length": 6,
    "seed": "7",
    "prompt": [1, 9, 2],
    "masks": [1],
}


def step(index: int, rows: int = 6) -> dict[str, Any]:
    return {"kind": "step", "seconds": 0.1, "step": index, "rows": rows}


def commit(index: int, positions: list[int], final: int, confidences: Any = None, branch: int = 0) -> dict[str, Any]:
    return {
        "kind": "commit",
        "seconds": 0.1,
        "step": index,
        "branch": branch,
        "positions": positions,
        "tokens": [10 + index] * len(positions),
        "confidences": [] if confidences is None else confidences,
        "final": final,
    }


FINISH = {"kind": "finish", "seconds": 0.2, "branch": 0, "reason": "length", "new_tokens": 4}
EVENTS = [
    REQUEST,
    step(0),
    commit(0, [4], 0, [0.9]),
    commit(0, [1], 1, [0.5], branch=1),
    step(2),
    commit(2, [1, 5], 1, [0.25, None]),
    step(3),
    commit(3, [3, 4], 4, [0.5, 1]),
    FINISH,
]


def written(path: Path, events: list[Any], end: str = "") -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + end)
    return path


def report(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> dict[str, Any]:
    assert main(["trace", "show", str(path), "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_trace_by_hand() -> None:
    trace = read_trace(EVENTS)
    assert [(s.index, s.rows, s.final) for s in trace.steps] == [(0, 6, 1), (2, 6, 3), (3, 6, 6)]
    assert {p: [d.step for d in ds] for p, ds in trace.decided.items()} == {4: [0, 3], 1: [2], 5: [2], 3: [3]}
    assert [d.revises for d in trace.decided[4]] == [False, True]
    assert trace.revisions == 1
    assert [trace.is_given(p) for p in range(6)] == [True, False, True, False, False, False]
    assert (trace.finish_reason, trace.new_tokens, trace.num_sequences) == ("length", 4, 2)
    assert trace.confidence_range() == (0.0, 1.0)
    assert trace.steps[1].confidence == 0.25
    other = read_trace(iter(EVENTS), branch=1)
    assert (other.finish_reason, len(other.steps)) == (None, 1)


def test_a_given_token_that_is_written_over_is_a_revision() -> None:
    trace = read_trace([REQUEST, step(0), commit(0, [0, 1], 1)])
    assert [d.revises for d in trace.steps[0].decisions] == [True, False]


def test_entropies_span_what_they_are() -> None:
    trace = read_trace([REQUEST, step(0), commit(0, [1, 3], 1, [-2.5, -0.5])])
    assert trace.confidence_range() == (-2.5, -0.5)
    assert trace_file.share_of(-1.0, trace.confidence_range()) == 0.75


@pytest.fixture(scope="module")
def sudoku(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[int]]:
    path = tmp_path_factory.mktemp("trace") / "sudoku.jsonl"
    (problem,) = fs.tasks.get("sudoku").problems(1)
    lm = fs.LM.bundled("sudoku")
    (grid,) = lm.generate([problem.prompt], decoding=fs.MaskedDiffusion(candidates=8), trace=path)
    return path, problem, grid


def test_sudoku_masks_in_the_prompt_are_decided(
    sudoku: tuple[Path, Any, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, problem, grid = sudoku
    found = report(capsys, path)
    masks = [i for i, cell in enumerate(problem.prompt) if cell == 0]
    assert found["masks"] == masks == [one["position"] for one in found["positions"]]
    assert all(grid[one["position"]] == one["token"] for one in found["positions"])
    assert sorted(one["step"] for one in found["positions"]) == list(range(len(masks)))
    assert all(0 < one["confidence"] <= 1 for one in found["positions"])
    assert found["steps"][-1]["final"] == 36
    assert found["revisions"] == 0
    assert main(["trace", "show", str(path), "--columns", "6"]) == 0
    out = capsys.readouterr().out
    assert "10 given, 26 decided in 26 steps" in out
    rows = [line.split() for line in out.split("each position")[1].splitlines()[2:8]]
    shown = [cell for row in rows for cell in row[1:]]
    assert [i for i, cell in enumerate(shown) if cell != "."] == masks
    assert [int(shown[one["position"]][:-1]) for one in found["positions"]] == [o["step"] for o in found["positions"]]


def test_left_to_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    lm = fs.LM.bundled("reasoner")
    prompts = [problem.prompt for problem in fs.tasks.get("reasoner").problems(2)]
    sequences = lm.generate(prompts, max_new_tokens=50, num_return_sequences=2, do_sample=True, seed=4, trace=path)
    for branch, sequence in enumerate(sequences):
        found = report(capsys, path, "--branch", str(branch))
        prompt = prompts[branch // 2]
        assert [one["position"] for one in found["positions"]] == list(range(len(prompt), len(sequence)))
        assert [one["token"] for one in found["positions"]] == sequence[len(prompt) :]
        assert {one["confidence"] for one in found["positions"]} == {None}
    assert main(["trace", "show", str(path)]) == 0
    assert "no confidences were read" in capsys.readouterr().out
    out = lm.generate(prompts[0], max_new_tokens=9, trace=path, output_logprobs=0, return_dict_in_generate=True)
    found = report(capsys, path)
    assert len(out.new_tokens[0]) == 9
    assert all(0 < one["confidence"] <= 1 for one in found["positions"])


@pytest.mark.hf
def test_block_diffusion_and_its_revisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from support.tiny_diffusion import make_tiny_diffusion

    make_tiny_diffusion(tmp_path / "m", "llada2")
    lm = fs.LM.from_pretrained(tmp_path / "m")
    decoding = fs.BlockDiffusion(edit_threshold=0.05, threshold=0.3, steps=8, max_post_steps=6)
    path = tmp_path / "t.jsonl"
    (sequence,) = lm.generate(
        [[1, 2, 3]], max_new_tokens=40, decoding=decoding, do_sample=True, seed=3, eos_token_id=None, trace=path
    )
    found = report(capsys, path)
    tokens = {one["position"]: one["token"] for one in found["positions"]}
    assert [tokens[position] for position in range(3, 43)] == sequence[3:]
    assert found["revisions"] > 0
    assert sum(len(one["steps"]) - 1 for one in found["positions"]) == found["revisions"]
    assert [one["step"] for one in found["positions"]] == [one["steps"][-1] for one in found["positions"]]
    assert main(["trace", "show", str(path), "--png", str(tmp_path / "a.png")]) == 0
    out = capsys.readouterr().out
    assert "* revised" in out
    assert "40 kept" in out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_lines_fit(
    columns: str,
    sudoku: tuple[Path, Any, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    long = [{**REQUEST, "max_length": 4000}]
    for i in range(3000):
        long += [step(i), commit(i, [3 + i], 2 + i)]
    for path in (sudoku[0], written(tmp_path / "long.jsonl", long), written(tmp_path / "hand.jsonl", EVENTS)):
        assert main(["trace", "show", str(path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= min(int(columns), 100)
        assert len(lines) < 270
        assert "\x1b" not in "".join(lines)


def test_far_positions_leave_out_what_is_between(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [{**REQUEST, "max_length": 4_000_000}, step(0), commit(0, [3, 3_999_999], 0)]
    path = written(tmp_path / "far.jsonl", events)
    assert main(["trace", "show", str(path), "--png", str(tmp_path / "far.png")]) == 0
    out = capsys.readouterr().out
    assert "not decided" in out
    assert len(out.splitlines()) < 20


def test_steps_that_no_run_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [REQUEST, step(0), commit(0, [3], 0), step(2**53, 2**53), commit(2**53, [3, 4], 2**22)]
    for event in events[4:]:
        event["tokens"] = [1, 2]
    path = written(tmp_path / "t.jsonl", events)
    assert main(["trace", "show", str(path), "--png", str(tmp_path / "a.png")]) == 0
    assert str(2**53) in capsys.readouterr().out


def test_colour_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t.jsonl", EVENTS)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["trace", "show", str(path)]) == 0
    assert "48;5;" in terminal.getvalue()


def test_a_run_that_was_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for end in ('{"kind":"comm', json.dumps(FINISH)[:-1], '{"kind":"step","step":9,"rows":1}'):
        found = report(capsys, written(tmp_path / "t.jsonl", EVENTS[:-1], end))
        assert found["truncated"] is not end.endswith("}")
        assert found["finish_reason"] is None
        assert len(found["positions"]) == 4
    assert main(["trace", "show", str(written(tmp_path / "t.jsonl", [REQUEST], "{"))]) == 0
    out = capsys.readouterr().out
    assert "cut off" in out
    assert "not finished" in out


def changed(at: int, **fields: Any) -> list[Any]:
    events = [dict(event) for event in EVENTS]
    events[at].update(fields)
    return events


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "not a trace"),
        ([7], "line 1: not a trace"),
        ([[]], "line 1: not a trace"),
        ([{"kind": 3}], "line 1: not a trace"),
        (EVENTS[1:], "begins with 'step'"),
        (changed(0, kind="x" * 999), "begins with 'xxx"),
        (changed(0, prompt="abc"), "line 1: prompt"),
        (changed(0, prompt=[1, True]), "prompt holds True"),
        (changed(0, prompt=[1, -1]), "prompt holds -1"),
        (changed(0, masks=[3]), "masks"),
        (changed(0, masks=[1, 1]), "masks"),
        (changed(0, masks=None), "masks"),
        (changed(0, max_length=10**30), "max_length"),
        (changed(0, max_length=2), "max_length 2"),
        (changed(0, sequences=0), "0 sequences"),
        (changed(0, branch=5), "from 5 on"),
        (changed(0, seed="\x1b[2J"), "seed"),
        (changed(1, step="0"), "line 2: step is '0'"),
        (changed(4, step=0), "step 0 comes after step 0"),
        (changed(1, rows=1.5), "rows is 1.5"),
        (changed(2, step=1), "a commit of step 1"),
        (changed(2, branch=2), "sequence 2 was never requested"),
        (changed(2, positions=[10**9]), "positions holds 1000000000"),
        (changed(2, tokens=[]), "1 positions, 0 tokens"),
        (changed(2, confidences=[0.1, 0.2]), "2 confidences"),
        (changed(2, confidences=[float("nan")]), "confidences holds nan"),
        (changed(2, confidences=[10**400]), "confidences holds 1000"),
        (changed(2, confidences=["x"]), "confidences holds 'x'"),
        (changed(2, confidences={}), "confidences is not a list"),
        (changed(2, final=-1), "final is -1"),
        (changed(8, reason="\x1b]0;x"), "reason"),
        (changed(8, new_tokens=None), "new_tokens is None"),
        ([REQUEST, "\n"], "line 2: not a trace"),
    ],
)
def test_what_is_not_a_trace(
    events: list[Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", "show", str(written(tmp_path / "bad.jsonl", events))]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("foresight: error: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 400
    assert "\x1b" not in captured.err
    assert message in captured.err


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\n", b"\x89PNG\r\n", DEEP.encode(), b"{" * 9, b"\n\n", b"9" * 9999])
def test_other_files(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other"
    for before in (b"", json.dumps(REQUEST).encode() + b"\n"):
        path.write_bytes(before + content + b"\n")
        assert main(["trace", "show", str(path)]) == 1
        captured = capsys.readouterr()
        assert "not a trace" in captured.err
        assert captured.err.count("\n") == 1


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "t.jsonl", EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr(trace_events, "MOST_LINE_BYTES", 40)
        assert main(["trace", "show", str(path)]) == 1
        assert "line 1: longer than" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(trace_events, "MOST_BYTES", 400)
        assert main(["trace", "show", str(path)]) == 1
        assert "is not read" in capsys.readouterr().err
    assert callable(fs.plots.order_map)
    monkeypatch.setattr(sys.modules["foresight.plots.order_map"], "MOST_DECISIONS", 2)
    assert main(["trace", "show", str(path), "--png", str(tmp_path / "a.png")]) == 1
    assert "too many for a picture" in capsys.readouterr().err


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path / "t.jsonl", EVENTS))
    assert main(["trace", "show", path, "--branch", "2"]) == 1
    assert "there is no sequence 2; its sequences are 0 to 1" in capsys.readouterr().err
    assert main(["trace", "show", path, "--branch", "-1"]) == 2
    assert main(["trace", "show", str(tmp_path / "none.jsonl")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert main(["trace", "show", str(tmp_path)]) == 1
    assert "directory" in capsys.readouterr().err
    assert main(["trace", "show", path, "--png", str(tmp_path / "no" / "a.png")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert main(["trace", "draw", path]) == 2
    assert main(["trace"]) == 2
    assert "Missing command" in capsys.readouterr().err
    assert main(["trace", "--help"]) == 0
    assert "show" in capsys.readouterr().out


def test_the_picture_holds_every_decision() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.collections import PolyCollection

    figure = fs.plots.order_map(EVENTS)
    axes, side, bar = figure.axes
    tails, cells = (c for c in axes.collections if isinstance(c, PolyCollection))
    assert len(cells.get_paths()) == len(tails.get_paths()) == 5
    corners = sorted((p.vertices[0][0] + 0.5, p.vertices[0][1] + 0.5) for p in cells.get_paths())
    assert corners == [(1, 2), (3, 3), (4, 0), (4, 3), (5, 2)]
    assert [patch.get_width() for patch in side.patches] == [1, 2, 2]
    assert bar.get_ylabel() == "confidence"
    assert "1 revision" in figure.get_suptitle()
    assert len(fs.plots.order_map([REQUEST]).axes) == 2


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"foresight-lm\[plots\]"):
        fs.plots.order_map(EVENTS)
    path = written(tmp_path / "t.jsonl", EVENTS)
    assert main(["trace", "show", str(path), "--png", str(tmp_path / "a.png")]) == 1
    assert (
        capsys.readouterr().err == "foresight: error: a picture needs matplotlib: pip install 'foresight-lm[plots]'\n"
    )
