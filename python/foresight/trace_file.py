"""What a trace (`lm.generate(..., trace=path)`) tells of one sequence: which position was decided when, how surely.

A file may come from anywhere: sizes and types are checked, and whatever is not a trace raises ValueError with the
line's number. A run that was cut off leaves a last line without an end; that line is left out.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any

__all__ = ["Decision", "Source", "Step", "Trace", "read_trace"]

Source = str | os.PathLike[str] | Iterable[Mapping[str, Any]]

MOST_BYTES = 1 << 29
MOST_LINE_BYTES = 1 << 25
MOST_POSITIONS = 1 << 22
_MOST = 2**53  # of a count, and of a token
_MOST_CONFIDENCE = 1e6
_REASONS = ("eos", "length", "stop_string", "criteria", "time", "controller")


@dataclass(frozen=True)
class Decision:
    """A token that a step wrote; `revises`: there was another one, given or decided before."""

    step: int
    position: int
    token: int
    confidence: float | None  # None: nobody asked
    revises: bool


@dataclass(frozen=True)
class Step:
    """A step that decided something; `rows` are those of its forward, all sequences together."""

    index: int
    rows: int
    decisions: list[Decision]
    final: int  # no later step changes a position before this one

    @property
    def confidence(self) -> float | None:
        """The mean over the decisions that have one."""
        known = [d.confidence for d in self.decisions if d.confidence is not None]
        return sum(known) / len(known) if known else None


@dataclass
class Trace:
    """One sequence of a trace, and how many others there are."""

    branch: int
    request: int
    prompt: list[int]
    masks: list[int]  # positions of the prompt that are filled
    max_length: int
    seed: str
    steps: list[Step] = field(default_factory=list)
    finish_reason: str | None = None  # None: the trace ends before the sequence
    new_tokens: int | None = None
    num_sequences: int = 0
    truncated: bool = False

    @cached_property
    def decided(self) -> dict[int, list[Decision]]:
        """The decisions of each position, in their order."""
        found: dict[int, list[Decision]] = {}
        for step in self.steps:
            for decision in step.decisions:
                found.setdefault(decision.position, []).append(decision)
        return found

    @cached_property
    def open(self) -> frozenset[int]:
        """Positions of the prompt that are not given."""
        return frozenset(self.masks)

    @cached_property
    def length(self) -> int:
        """Positions up to the last one given or decided."""
        return max([len(self.prompt), *(position + 1 for position in self.decided)])

    @cached_property
    def revisions(self) -> int:
        return sum(decision.revises for step in self.steps for decision in step.decisions)

    def is_given(self, position: int) -> bool:
        return position < len(self.prompt) and position not in self.open

    def confidence_range(self) -> tuple[float, float] | None:
        """What the palest and the fullest shade stand for: 0 and 1, or the least and the most where some are no
        probabilities (minus an entropy); None where there are none.
        """
        known = [d.confidence for step in self.steps for d in step.decisions if d.confidence is not None]
        if not known:
            return None
        low, high = min(known), max(known)
        return (0.0, 1.0) if low >= 0.0 and high <= 1.0 else (low, high)


def share_of(confidence: float | None, span: tuple[float, float] | None) -> float | None:
    """Where a confidence lies in its range, 0 to 1."""
    if confidence is None or span is None:
        return None
    low, high = span
    return (confidence - low) / (high - low) if high > low else 1.0


def read_trace(source: Source, branch: int = 0) -> Trace:
    """Reads what a trace tells of its sequence number `branch`, counted over all prompts.

    `source` is the file's path, or its events as they are read from JSON. Raises ValueError where it is not a trace or
    has no such sequence, OSError where the file cannot be read.
    """
    is_path = isinstance(source, (str, os.PathLike))
    name = os.fsdecode(source) if is_path else "the trace"  # type: ignore[arg-type]
    reader = _Reader(branch)
    unit, number = "line" if is_path else "event", 0
    try:
        for event in _lines(source, reader) if is_path else source:  # type: ignore[arg-type,union-attr]
            number += 1
            reader.take(event)
    except _EventError as error:
        raise ValueError(f"{name}: {unit} {number + error.ahead}: {error}") from None
    if number == 0:
        raise ValueError(f"{name}: not a trace: there are no events in it")
    if reader.trace is None:
        raise ValueError(f"{name}: there is no sequence {branch}; its sequences are 0 to {reader.num_sequences - 1}")
    reader.trace.num_sequences = reader.num_sequences
    reader.trace.truncated = reader.truncated
    return reader.trace


class _EventError(Exception):
    """What is wrong with an event; `ahead`: 1 where it was not counted yet."""

    ahead = 0


class _Reader:
    """Takes the events in their order and keeps what concerns one sequence."""

    def __init__(self, branch: int) -> None:
        self.branch = branch
        self.trace: Trace | None = None
        self.num_sequences = 0
        self.truncated = False
        self._step = -1
        self._rows = 0
        self._seen: set[int] = set()

    def take(self, event: Any) -> None:
        if not isinstance(event, Mapping) or not isinstance(event.get("kind"), str):
            raise _EventError('not a trace: expected an object with a "kind"')
        kind = event["kind"]
        if self.num_sequences == 0 and kind != "request":
            raise _EventError(f"not a trace: it begins with {_shown(kind)} and not with a request")
        if kind == "request":
            self._request(event)
        elif kind == "step":
            index = _count(event, "step")
            if index <= self._step:
                raise _EventError(f"step {index} comes after step {self._step}")
            self._step, self._rows = index, _count(event, "rows")
        elif kind == "commit":
            self._commit(event)
        elif kind == "finish" and self._concerns(event) and self.trace is not None:
            reason = event.get("reason")
            if reason not in _REASONS:
                raise _EventError(f"the reason {_shown(reason)} is none of {', '.join(_REASONS)}")
            self.trace.finish_reason = reason
            self.trace.new_tokens = _count(event, "new_tokens")

    def _request(self, event: Mapping[str, Any]) -> None:
        first, sequences = _count(event, "branch"), _count(event, "sequences")
        if first != self.num_sequences or sequences == 0:
            raise _EventError(f"a request of {sequences} sequences from {first} on, after {self.num_sequences} others")
        self.num_sequences += sequences
        if not first <= self.branch < self.num_sequences:
            return
        prompt, masks = _counts(event, "prompt"), _counts(event, "masks")
        if any(b <= a for a, b in itertools.pairwise(masks)) or (masks and masks[-1] >= len(prompt)):
            raise _EventError(f"masks are not rising positions of the prompt of {len(prompt)} tokens")
        max_length = _count(event, "max_length", MOST_POSITIONS)
        if max_length < len(prompt):
            raise _EventError(f"max_length {max_length} is less than the prompt of {len(prompt)} tokens")
        seed = event.get("seed")
        if not isinstance(seed, str) or not (seed.isascii() and seed.isdigit() and len(seed) <= 20):
            raise _EventError(f"seed is {_shown(seed)}, expected digits")
        self.trace = Trace(self.branch, _count(event, "request"), prompt, masks, max_length, seed)

    def _concerns(self, event: Mapping[str, Any]) -> bool:
        branch = _count(event, "branch")
        if branch >= self.num_sequences:
            raise _EventError(f"sequence {branch} was never requested")
        return branch == self.branch

    def _commit(self, event: Mapping[str, Any]) -> None:
        if _count(event, "step") != self._step:
            raise _EventError(f"a commit of step {event['step']} within step {self._step}")
        trace = self.trace
        if not self._concerns(event) or trace is None:
            return
        positions, tokens = _counts(event, "positions", MOST_POSITIONS), _counts(event, "tokens")
        confidences = _confidences(event)
        if len(tokens) != len(positions) or len(confidences) not in (0, len(positions)):
            raise _EventError(f"{len(positions)} positions, {len(tokens)} tokens and {len(confidences)} confidences")
        decisions = []
        for i, position in enumerate(positions):
            revises = position in self._seen or trace.is_given(position)
            confidence = confidences[i] if confidences else None
            decisions.append(Decision(self._step, position, tokens[i], confidence, revises))
            self._seen.add(position)
        final = _count(event, "final", MOST_POSITIONS)
        masks = trace.masks
        end = masks[final] if final < len(masks) else len(trace.prompt) + final - len(masks)
        trace.steps.append(Step(self._step, self._rows, decisions, end))


def _lines(path: str | os.PathLike[str], reader: _Reader) -> Iterator[Any]:
    with open(path, "rb") as file:  # noqa: PTH123 (a path-like of the caller's)
        yield from _parsed(file, reader)


def _parsed(file: IO[bytes], reader: _Reader) -> Iterator[Any]:
    left = MOST_BYTES
    while line := file.readline(MOST_LINE_BYTES + 1):
        left -= len(line)
        error = None
        if len(line) > MOST_LINE_BYTES:
            error = _EventError(f"longer than {MOST_LINE_BYTES >> 20} MiB, which no trace is")
        elif left < 0:
            error = _EventError(f"a trace of more than {MOST_BYTES >> 20} MiB is not read")
        else:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                if not line.endswith(b"\n") and reader.num_sequences > 0:
                    reader.truncated = True
                    return
                error = _EventError("not a trace: the line is not JSON")
        if error is not None:
            error.ahead = 1
            raise error
        yield event


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
    return text if len(text) <= 40 else text[:40] + "..."


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _count(event: Mapping[str, Any], name: str, most: int = _MOST) -> int:
    value = event.get(name)
    if not _is_count(value, most):
        raise _EventError(f"{name} is {_shown(value)}, expected an integer from 0 to {most}")
    return int(value)  # type: ignore[arg-type]


def _counts(event: Mapping[str, Any], name: str, below: int = _MOST) -> list[int]:
    values = event.get(name)
    if not isinstance(values, list) or len(values) > MOST_POSITIONS:
        raise _EventError(f"{name} is not a list of at most {MOST_POSITIONS} integers")
    for value in values:
        if not _is_count(value, below - 1):
            raise _EventError(f"{name} holds {_shown(value)}, expected integers from 0 to {below - 1}")
    return values


def _confidences(event: Mapping[str, Any]) -> list[float | None]:
    values = event.get("confidences")
    if not isinstance(values, list) or len(values) > MOST_POSITIONS:
        raise _EventError(f"confidences is not a list of at most {MOST_POSITIONS} numbers")
    for value in values:
        if value is not None and not (type(value) in (int, float) and abs(value) <= _MOST_CONFIDENCE):
            raise _EventError(
                f"confidences holds {_shown(value)}, expected numbers up to {_MOST_CONFIDENCE:.0f}, or null"
            )
    return [None if value is None else float(value) for value in values]
