"""A table of the branches of a request that runs, which updates in place at the bottom of a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from foresight.cli.screen import Screen, columns_of, padded, short
from foresight.snapshots import LiveBranch, Snapshot

__all__ = ["BranchTable"]

_SECONDS = 0.1  # between two drawings
_MOST_HUES = 6
_LEAST_ROWS = 3
_ANSWER = 6  # columns of an answer, at least: so 64 branches fit on a terminal of 80 by 24
_MARKS = {
    "running": ("\u25b8", ">"),
    "finished": ("\u25cf", "o"),
    "pruned": ("\u00d7", "x"),
    "stopped": ("\u2524", "]"),
}


class BranchTable:
    """Draws snapshots, the newest in the place of the one before; a context manager.

    Where the stream is no terminal it does nothing. leave: whether the last one stays when it is closed. Branches stand
    side by side when they are more than the terminal has lines, and of more than fit the running ones are shown first.
    """

    def __init__(self, stream: TextIO, leave: bool = True) -> None:
        self._screen = Screen(stream=stream)
        self._leave = leave
        self._hues: dict[str, int] = {}  # an answer keeps its colour
        self._lines = 0  # that the last drawing took
        self._drawn_at = -_SECONDS
        self._waiting: Snapshot | None = None

    def __enter__(self) -> BranchTable:  # noqa: PYI034 (typing.Self came with 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, snapshot: Snapshot) -> None:
        """Shows `snapshot`, at once or, when the last one is very fresh, with the next one or the end."""
        if not self._screen.live:
            return
        self._waiting = snapshot
        if time.monotonic() - self._drawn_at >= _SECONDS:
            self._draw()

    def close(self) -> None:
        """Shows what is still waiting, and leaves the cursor below; or takes the table away."""
        if self._leave:
            self._draw()
        elif self._lines:
            self._screen.write(f"\x1b[{self._lines}A\r\x1b[J")
        self._lines, self._waiting = 0, None

    def _draw(self) -> None:
        if self._waiting is None:
            return
        self._screen.measure()
        lines = self._table(self._waiting)
        up = f"\x1b[{self._lines}A\r" if self._lines else ""
        self._screen.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._lines, self._waiting, self._drawn_at = len(lines), None, time.monotonic()

    def _table(self, snapshot: Snapshot) -> list[str]:
        """Lines that are shorter than the terminal is wide, and fewer than it is high."""
        branches, screen = snapshot["branches"], self._screen
        room = screen.columns - 1
        for answer, _ in self._best(snapshot)[:_MOST_HUES]:
            if len(self._hues) < _MOST_HUES:
                self._hues.setdefault(answer, len(self._hues))
        rows = max(screen.height - 4, _LEAST_ROWS)
        digits = len(str(max((branch["number"] for branch in branches), default=0)))
        tokens = max((len(f"{branch['num_tokens']:,}") for branch in branches), default=1)
        least = digits + 1 + 1 + 1 + tokens + 1 + _ANSWER
        across = min(-(-len(branches) // rows), max((room + 2) // (least + 2), 1))
        shown = self._chosen(branches, rows * max(across, 1))
        lines = [screen.bold(short(self._headline(snapshot), room)), self._vote_line(snapshot, room)]
        if across:
            down = -(-len(shown) // across)
            width = (room + 2) // across - 2
            most = max(branch["num_tokens"] for branch in branches)
            cells = [self._cell(branch, (digits, tokens, width, most)) for branch in shown]
            lines += ["  ".join(cells[row::down]) for row in range(down)]
        if len(shown) < len(branches):
            lines.append(screen.dim(short(f"... and {len(branches) - len(shown):,} more", room)))
        return lines

    def _chosen(self, branches: Sequence[LiveBranch], most: int) -> list[LiveBranch]:
        """The running ones first, then those that went furthest; in the order of their numbers."""
        ranked = sorted(branches, key=lambda b: (b["status"] != "running", -b["num_tokens"], b["number"]))
        return sorted(ranked[:most], key=lambda b: b["number"])

    def _headline(self, snapshot: Snapshot) -> str:
        states = [branch["status"] for branch in snapshot["branches"]]
        counts = ", ".join(f"{states.count(status):,} {status}" for status in _MARKS if status in states)
        return f"clock {snapshot['clock']:,}; {len(states):,} branch{'es' * (len(states) != 1)}: {counts or 'none'}"

    def _best(self, snapshot: Snapshot) -> list[tuple[str, float]]:
        return sorted(snapshot["votes"].items(), key=lambda vote: -vote[1])

    def _vote_line(self, snapshot: Snapshot, room: int) -> str:
        """The answers with the most votes, as many as fit."""
        if not snapshot["votes"]:
            return self._screen.dim("no votes")
        line, left = self._screen.dim("votes"), room - len("votes")
        for answer, weight in self._best(snapshot):
            entry = f"{short(answer, 20)} {weight:,.4g}"
            left -= columns_of(entry) + 2
            if left < len("  ..."):
                return line + self._screen.dim("  ...")
            line += "  " + self._screen.hue(entry, self._hues.get(answer))
        return line

    def _cell(self, branch: LiveBranch, sizes: tuple[int, int, int, int]) -> str:
        """One branch in `width` columns: number, mark, tokens, a bar where there is room, answer, and the rest."""
        digits, tokens, width, most = sizes
        screen, answer = self._screen, branch["answer"]
        mark = screen.glyphs(*_MARKS[branch["status"]])
        head = f"{branch['number']:>{digits}} {mark} {branch['num_tokens']:>{tokens},} "
        left = width - len(head)
        tail = ""
        if left >= 55:
            confidence = branch["confidence"]
            tail = f" {branch['probes']:>4,} probes {'' if confidence is None else f'{confidence:.3f}':>7}"
            bar = min(left - len(tail) - 21, 40)
            head += screen.bar(branch["num_tokens"] / max(most, 1), bar) + " "
            left -= len(tail) + bar + 1
        says = padded(short(answer, left), left)
        head = screen.dim(head) if branch["status"] in ("pruned", "stopped") else head
        return head + (screen.hue(says, self._hues.get(answer)) if answer is not None else says) + screen.dim(tail)
