"""`foresight trace show` of a controlled request: branches against tokens, what they said, and the vote over time."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from foresight.cli.screen import Screen, padded, short
from foresight.trace_branches import BranchTrace, TracedBranch

__all__ = ["Letters", "report", "show_branches"]

MOST_LETTERS = 6
_OTHER, _NONE = "+", "."
_MOST_BRANCHES_SHOWN = 64
_VOTE_ROWS = 8
_ANSWER_ROOM = 12
_MARKS = {"finished": 0, "pruned": 1, "stopped": 2, "running": 3}
_WORDS = {"finished": "finished", "pruned": "pruned", "stopped": "stopped", "running": "the trace ends"}


class Letters:
    """A letter and a colour for each of the most wanted answers; the others share one."""

    def __init__(self, answers: Sequence[str], most: int = MOST_LETTERS) -> None:
        self.answers = list(answers[:most])
        self.has_others = len(answers) > most
        self._places = {answer: place for place, answer in enumerate(self.answers)}

    def of(self, answer: str | None) -> tuple[str, int | None]:
        """The character of an answer, and the number of its colour: None where it has none of its own."""
        if answer is None:
            return _NONE, None
        place = self._places.get(answer)
        return (_OTHER, None) if place is None else (chr(ord("A") + place), place)


def show_branches(
    trace: BranchTrace, name: str, screen: Screen, rows: int | None = None, *, compact: bool = False
) -> None:
    """Draws it; `rows`: branches shown at most, by default what fits on the terminal. compact: without the vote over
    time.
    """
    letters = Letters(trace.ranked_answers)
    _show_summary(trace, name, screen)
    if not trace.branches:
        return
    shown = _chosen(trace, rows or _fitting_rows(trace, screen))
    room = _Room(trace, screen)
    screen.heading("Branches against tokens")
    for branch in shown:
        screen.line(_branch_line(branch, trace, letters, room, screen))
    if len(shown) < len(trace.branches):
        hidden = len(trace.branches) - len(shown)
        screen.line(screen.dim(f"  {'...':>{room.label}}   and {_plural(hidden, 'other branch', 'other branches')}"))
    screen.line(screen.dim(" " * room.left + room.axis()))
    series = [] if compact else trace.vote_series(letters.answers)
    if series:
        screen.heading("The vote over time")
        _show_votes(series, letters, room, screen)
    _show_legend(trace, letters, screen)


class _Room:
    """How the columns of a line are used, and which clock a column stands for."""

    def __init__(self, trace: BranchTrace, screen: Screen) -> None:
        self.label = max(len(str(max(branch.number for branch in trace.branches))), 4)
        self.tokens = max(len(f"{max(branch.num_tokens for branch in trace.branches):,}"), 5)
        self.left = 2 + self.label + 1
        self.bar = screen.width - 2 - self.left - 1 - self.tokens - 1 - _ANSWER_ROOM
        self.clock = max(trace.clock, 1)

    def column(self, clock: int) -> int:
        return min(clock * self.bar // self.clock, self.bar - 1)

    def axis(self) -> str:
        """0, the middle and the end of the clock, below the bars."""
        middle, end = f"{self.clock // 2:,}", f"{self.clock:,} tokens"
        line = f"0{middle:^{self.bar - 2}}"
        return (line[: self.bar - len(end) - 1].rstrip().ljust(self.bar - len(end)) if line else "") + end


def _show_summary(trace: BranchTrace, name: str, screen: Screen) -> None:
    title = "".join(c if c.isprintable() else "?" for c in name)
    which = f"  request {trace.request} of {len(trace.requests):,}" if len(trace.requests) > 1 else ""
    screen.line(screen.bold(title) + which)
    counts = Counter(branch.status for branch in trace.branches)
    states = [f"{counts[status]:,} {status}" for status in _MARKS if counts[status]]
    parts = [f"{short(trace.controller, 40)}: {_plural(len(trace.branches), 'branch', 'branches')}", *states]
    screen.paragraph(", ".join(parts))
    parts = [f"{trace.clock:,} tokens one after another, {trace.total_tokens:,} in all"]
    if trace.num_probes:
        each = f" every {trace.probe_interval:,}" if trace.probe_interval else ""
        parts.append(f"{_plural(trace.num_probes, 'probe')}{each} with {trace.probe_tokens:,} tokens of their own")
    screen.paragraph("; ".join(parts))
    if trace.outcome_clock is None:
        screen.paragraph("not finished: the trace ends before the outcome")
    else:
        answer = "no answer" if trace.answer is None else f"answer {short(trace.answer, 40)}"
        of = "" if trace.winner is None else f" of branch {trace.winner}"
        reason = f": {short(trace.reason, 100)}" if trace.reason else ""
        screen.paragraph(f"{answer}{of} at {trace.outcome_clock:,}{reason}")
    if trace.truncated:
        screen.line(screen.dim("The last line of the file is cut off; it is left out."))


def _fitting_rows(trace: BranchTrace, screen: Screen) -> int:
    """As many branches as leave room for the rest on a terminal's screen."""
    if not screen.live:
        return _MOST_BRANCHES_SHOWN
    return min(_MOST_BRANCHES_SHOWN, max(8, screen.height - _VOTE_ROWS - 20))


def _chosen(trace: BranchTrace, most: int) -> list[TracedBranch]:
    """The winner and the branches that went on for longest, by number."""
    longest = sorted(trace.branches, key=lambda b: (b.number != trace.winner, -b.clock, b.number))
    return sorted(longest[:most], key=lambda b: b.number)


def _marks(screen: Screen) -> str:
    return screen.glyphs("\u25cf\u00d7\u2524>\u2500\u2514", "ox]>-`")


def _branch_line(branch: TracedBranch, trace: BranchTrace, letters: Letters, room: _Room, screen: Screen) -> str:
    marks = _marks(screen)
    begin, end = room.column(branch.start), room.column(branch.clock)
    cells = [" "] * begin + [screen.dim(marks[4])] * (end - begin + 1) + [" "] * (room.bar - 1 - end)
    if branch.parent >= 0:
        cells[begin] = screen.dim(marks[5])
        note = f"from {branch.parent}"
        if len(note) < begin:
            cells[begin - 1 - len(note) : begin - 1] = [screen.dim(c) for c in note]
    for probe in branch.probes:
        letter, hue = letters.of(probe.answer)
        cells[room.column(branch.clock_at(probe.num_tokens))] = screen.hue(letter, hue)
    letter, hue = letters.of(branch.answer)
    mark = marks[_MARKS[branch.status]]
    cells[end] = screen.bad(mark) if branch.status == "pruned" else screen.bold(mark)
    is_winner = branch.number == trace.winner
    label = f"{'> ' if is_winner else '  '}{branch.number:>{room.label}}"
    says = short(branch.answer, _ANSWER_ROOM)
    tail = f"{branch.num_tokens:>{room.tokens},} {screen.hue(says, hue) if says else ''}".rstrip()
    return f"{screen.bold(label) if is_winner else screen.dim(label)} {''.join(cells)} {tail}"


def _show_votes(series: list[tuple[int, list[int]]], letters: Letters, room: _Room, screen: Screen) -> None:
    """A stack of shares per column, the answer that won at the bottom."""
    columns: list[list[int] | None] = []
    at = 0
    for column in range(room.bar):
        last_clock = ((column + 1) * room.clock - 1) // room.bar  # the last one that is drawn in this column
        while at < len(series) and (series[at][0] <= last_clock or column == room.bar - 1):
            at += 1
        columns.append(series[at - 1][1] if at and sum(series[at - 1][1]) else None)
    stacks = [_stack(votes) for votes in columns]
    for row in reversed(range(_VOTE_ROWS)):
        cells = []
        for stack in stacks:
            place = stack[row] if stack else None
            own = place is not None and place < len(letters.answers)
            letter = " " if place is None else chr(ord("A") + place) if own else _OTHER
            cells.append(screen.hue(letter, place if own else None, fill=own) if letter != " " else " ")
        share = {_VOTE_ROWS - 1: "100%", 0: "0%"}.get(row, "")
        screen.line(f"  {screen.dim(f'{share:>{room.label}}')} {''.join(cells)}".rstrip())
    screen.line(screen.dim(" " * room.left + room.axis()))


def _stack(votes: list[int] | None) -> list[int]:
    """Which answer each row belongs to, from the bottom: rows go where most of their share is."""
    if votes is None:
        return []
    total, bounds, sum_ = sum(votes), [], 0
    for number in votes:
        sum_ += number
        bounds.append(sum_ / total)
    middles = [(row + 0.5) / _VOTE_ROWS for row in range(_VOTE_ROWS)]
    return [next(place for place, bound in enumerate(bounds) if middle <= bound + 1e-9) for middle in middles]


def _show_legend(trace: BranchTrace, letters: Letters, screen: Screen) -> None:
    votes = trace.votes
    if letters.answers:
        screen.heading("Answers, and their votes at the end")
    for answer in letters.answers:
        letter, hue = letters.of(answer)
        won = "  " + screen.good("the outcome") if answer == trace.answer else ""
        screen.line(
            f"  {screen.hue(letter, hue)} {padded(short(answer, 30), 30)} {votes.get(answer, 0):>6,}{won}".rstrip()
        )
    if letters.has_others:
        others = sum(number for answer, number in votes.items() if answer not in letters.answers)
        more = _plural(len(trace.ranked_answers) - len(letters.answers), "other answer")
        screen.line(f"  {screen.dim(_OTHER)} {more:<30} {others:>6,}")
    marks = _marks(screen)
    used = {branch.status for branch in trace.branches}
    words = [f"{marks[_MARKS[status]]} {_WORDS[status]}" for status in _MARKS if status in used]
    if any(branch.parent >= 0 for branch in trace.branches):
        words.append(f"{marks[5]} forked")
    if any(probe.answer is None for branch in trace.branches for probe in branch.probes):
        words.append(f"{_NONE} a probe without an answer")
    if trace.num_probes:
        words.append("a letter is what a probe said, the last one where several share a place")
    screen.line()
    screen.line(
        "\n".join(textwrap.wrap("; ".join(words), screen.width - 2, initial_indent="  ", subsequent_indent="  "))
    )


def report(trace: BranchTrace) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        "request": trace.request,
        "requests": trace.requests,
        "controller": trace.controller,
        "probe_interval": trace.probe_interval,
        "prompt_tokens": trace.num_prompt_tokens,
        "clock": trace.clock,
        "total_tokens": trace.total_tokens,
        "probes": trace.num_probes,
        "probe_tokens": trace.probe_tokens,
        "winner": trace.winner,
        "answer": trace.answer,
        "reason": trace.reason,
        "truncated": trace.truncated,
        "votes": trace.votes,
        "branches": [
            {
                "number": branch.number,
                "sequence": branch.sequence,
                "parent": branch.parent,
                "inherited": branch.inherited,
                "start": branch.start,
                "status": branch.status,
                "reason": branch.reason,
                "answer": branch.answer,
                "num_tokens": branch.num_tokens,
                "clock": branch.clock,
                "probes": [[probe.num_tokens, probe.probe_tokens, probe.answer] for probe in branch.probes],
                "confidences": branch.confidences,
            }
            for branch in trace.branches
        ],
    }


def _plural(count: int, noun: str, nouns: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
