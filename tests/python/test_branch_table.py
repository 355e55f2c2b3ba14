"""The live table of branches: where it draws, and that every drawing takes the place of the last."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from foresight.cli import branch_table
from foresight.cli.branch_table import BranchTable
from foresight.cli.screen import columns_of
from foresight.snapshots import LiveBranch, Snapshot
from support.terminal import Terminal as AnyTerminal


class Terminal(AnyTerminal):
    encoding = "utf-8"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch_table, "_SECONDS", 0.0)
    for name, value in {"COLUMNS": "80", "LINES": "24", "TERM": "xterm", "NO_COLOR": ""}.items():
        monkeypatch.setenv(name, value)


def branch(number: int, num_tokens: int, **fields: Any) -> LiveBranch:
    made: Any = {"number": number, "status": "running", "num_tokens": num_tokens, "answer": None, "probes": 0}
    return {**made, "confidence": None, **fields}


def snapshot(width: int, clock: int, votes: dict[str, float] | None = None) -> Snapshot:
    states = ("running", "running", "finished", "pruned", "stopped")
    branches = [
        branch(i, clock - i if i % 5 < 2 else clock // 2, status=states[i % 5], answer=f"{i % 7}" if i % 3 else None)
        for i in range(width)
    ]
    return {"branches": branches, "votes": {"204": 3.0, "17": 1.0} if votes is None else votes, "clock": clock}


class Emulator:
    """What a terminal of a given size shows after what was written to it: no more codes than the table uses."""

    def __init__(self, columns: int, height: int) -> None:
        self.columns, self.height = columns, height
        self.lines: list[str] = [""]
        self.row = 0

    def feed(self, text: str) -> None:
        for piece in re.findall(r"\x1b\[\d*[AKJ]|\x1b\[[\d;]*m|\r|\n|[^\x1b\r\n]+|.", text, re.DOTALL):
            if piece == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
                self.column = 0
            elif piece == "\r":
                self.column = 0
            elif piece.endswith("A") and piece.startswith("\x1b"):
                self.row -= int(piece[2:-1])
                assert self.row >= max(len(self.lines) - self.height, 0), "the cursor cannot leave the screen"
            elif piece == "\x1b[K":
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif piece == "\x1b[J":
                assert self.column == 0
                self.lines[self.row :] = [""]
            elif piece.startswith("\x1b["):
                assert piece.endswith("m")
            else:
                assert "\x1b" not in piece
                line = self.lines[self.row]
                self.lines[self.row] = line[: self.column] + piece + line[self.column + len(piece) :]
                self.column += len(piece)
                assert columns_of(self.lines[self.row]) < self.columns, "the line would wrap"

    column = 0


@pytest.mark.parametrize("columns", [20, 40, 64, 80, 200])
@pytest.mark.parametrize("height", [8, 24, 100])
@pytest.mark.parametrize("width", [0, 1, 8, 64, 500])
def test_every_drawing_replaces_the_last(
    columns: int, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(height))
    terminal, screen = Terminal(), Emulator(columns, height)
    terminal.write("before\n")
    with BranchTable(terminal) as table:
        for clock in (10, 5_000, 12_345):
            table.update(snapshot(width, clock))
    screen.feed(terminal.getvalue())
    assert screen.lines[0] == "before"
    assert len(screen.lines) - 2 < height
    assert sum(line.startswith("clock ") for line in screen.lines) == 1
    assert screen.lines[-1] == ""
    if columns >= 64:
        assert screen.lines[1].startswith(f"clock 12,345; {width} branch")
        assert screen.lines[2] == "votes  204 3  17 1"
    shown = re.findall(r"(?<!\S)(\d+) [\u25b8\u25cf\u00d7\u2524]", "\n".join(screen.lines[3:]))
    hidden = next((int(line.split()[2]) for line in screen.lines if line.startswith("... and ")), 0)
    if columns >= 64 and width < 500:
        assert len(shown) + hidden == width


def test_the_running_ones_are_shown_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "8")
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    branches = [branch(i, 100 * i, status="finished") for i in range(6)] + [branch(6, 1), branch(7, 2)]
    with BranchTable(terminal) as table:
        table.update({"branches": branches, "votes": {}, "clock": 9})
    plain = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    assert [line.split()[0] for line in plain[2:6]] == ["4", "5", "6", "7"]
    assert plain[1] == "no votes"
    assert plain[6] == "... and 4 more"


def test_few_branches_show_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    with BranchTable(terminal) as table:
        table.update(
            {
                "branches": [branch(0, 1_000, answer="204", probes=3, confidence=0.25)],
                "votes": {"204": 1},
                "clock": 1_000,
            }
        )
    line = terminal.getvalue().splitlines()[2]
    assert re.fullmatch(r"0 \u25b8 1,000 \u2588+ 204 +3 probes +0\.250\x1b\[K", line)


def test_a_table_may_be_taken_away() -> None:
    terminal, screen = Terminal(), Emulator(80, 24)
    terminal.write("before\n")
    with BranchTable(terminal, leave=False) as table:
        table.update(snapshot(8, 10))
        table.update(snapshot(8, 20))
    screen.feed(terminal.getvalue())
    assert screen.lines == ["before", ""]


def test_nothing_is_drawn_twice_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch_table, "_SECONDS", 1e9)
    terminal = Terminal()
    table = BranchTable(terminal)
    for clock in range(1, 1000):
        table.update(snapshot(8, clock))
    assert "clock 1;" in terminal.getvalue()
    assert len(terminal.pieces) == 1
    table.close()
    assert len(terminal.pieces) == 2
    assert "clock 999" in terminal.pieces[1]
    table.close()
    assert len(terminal.pieces) == 2


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_nothing_is_written_where_it_cannot_update(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    stream = Terminal() if term == "dumb" else io.StringIO()
    with BranchTable(stream) as table:
        table.update(snapshot(8, 10))
    assert stream.getvalue() == ""


def test_hostile_answers_stay_in_their_cell() -> None:
    terminal, screen = Terminal(), Emulator(80, 24)
    answers = ["\x1b[2J\x1b[99A", "\u7b54" * 50, "a\nb\tc", "e\u0301" * 60, "\u202e" + "x" * 5000, ""]
    branches = [branch(i, 10, answer=answer, status="finished") for i, answer in enumerate(answers)]
    with BranchTable(terminal) as table:
        for _ in range(2):
            table.update({"branches": branches, "votes": dict.fromkeys(answers, 1.5), "clock": 10})
    screen.feed(terminal.getvalue())
    assert len(screen.lines) == 2 + len(answers) + 1


def test_an_answer_keeps_its_colour() -> None:
    def colour_of(text: str, answer: str) -> str:
        found = re.search(rf"\x1b\[1;38;5;(\d+)m{answer} ", text)
        assert found is not None
        return found[1]

    terminal = Terminal()
    table = BranchTable(terminal)
    table.update({"branches": [], "votes": {"one": 2, "two": 1}, "clock": 1})
    table.update({"branches": [], "votes": {"two": 9, "one": 2}, "clock": 2})
    first, second = terminal.pieces
    assert colour_of(first, "one") == colour_of(second, "one") != colour_of(second, "two") == colour_of(first, "two")
    assert second.index("two 9") < second.index("one 2")
