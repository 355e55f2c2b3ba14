"""What a trace (`lm.generate(..., trace=path)`) tells of one sequence: which position was decided when, how surely.

A file may come from anywhere: sizes and types are checked, and whatever is not a trace raises ValueError with the
line's number. A run that was cut off leaves a last line without an end; that line is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from foresight.trace_events import (
    MOST_POSITIONS,
    EventError,
    EventReader,
    Source,
    confidences_of,
    count,
    counts,
    shown,
    text_of,
)

__all__ = ["MOST_REASON", "Decision", "Source", "Step", "Trace", "read_trace"]

MOST_REASON = 500
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
    reader = _Reader(branch)
    reader.read(source)
    trace = reader.trace
    assert trace is not None
    trace.num_sequences = reader.num_sequences
    trace.truncated = reader.truncated
    return trace


class _Reader(EventReader):
    """Keeps what concerns one sequence."""

    def __init__(self, branch: int) -> None:
        super().__init__()
        self.branch = branch
        self.trace: Trace | None = None
        self._step = -1
        self._rows = 0
        self._seen: set[int] = set()

    def event(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "step":
            index = count(event, "step")
            if index <= self._step:
                raise EventError(f"step {index} comes after step {self._step}")
            self._step, self._rows = index, count(event, "rows")
        elif kind == "commit":
            self._commit(event)
        elif kind in ("finish", "end") and self.sequence(event) == self.branch and self.trace is not None:
            reason = event.get("reason")
            if kind == "end":  # a controller says it in its own words
                reason = text_of(event, "reason", MOST_REASON) or text_of(event, "status", MOST_REASON)
            elif reason not in _REASONS:
                raise EventError(f"the reason {shown(reason)} is none of {', '.join(_REASONS)}")
            self.trace.finish_reason = reason
            self.trace.new_tokens = count(event, "num_tokens" if kind == "end" else "new_tokens")

    def end(self) -> None:
        if self.trace is None:
            has = f"its sequences are 0 to {self.num_sequences - 1}"
            if self.controlled:
                has = f"its branches are {', '.join(map(str, sorted(self.started)[:20])) or 'none'}"
            raise EventError(f"there is no sequence {self.branch}; {has}")

    def start(self, event: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        if event["branch"] == self.branch:
            self._begin(request)

    def request(self, event: Mapping[str, Any], sequences: int) -> None:
        if self.num_sequences <= self.branch < self.num_sequences + sequences:
            self._begin(event)

    def _begin(self, event: Mapping[str, Any]) -> None:
        prompt, masks = counts(event, "prompt"), counts(event, "masks")
        if any(b <= a for a, b in itertools.pairwise(masks)) or (masks and masks[-1] >= len(prompt)):
            raise EventError(f"masks are not rising positions of the prompt of {len(prompt)} tokens")
        max_length = count(event, "max_length", MOST_POSITIONS)
        if max_length < len(prompt):
            raise EventError(f"max_length {max_length} is less than the prompt of {len(prompt)} tokens")
        seed = event.get("seed")
        if not isinstance(seed, str) or not (seed.isascii() and seed.isdigit() and len(seed) <= 20):
            raise EventError(f"seed is {shown(seed)}, expected digits")
        self.trace = Trace(self.branch, count(event, "request"), prompt, masks, max_length, seed)

    def _commit(self, event: Mapping[str, Any]) -> None:
        if count(event, "step") != self._step:
            raise EventError(f"a commit of step {event['step']} within step {self._step}")
        trace = self.trace
        if self.sequence(event) != self.branch or trace is None:
            return
        positions, tokens = counts(event, "positions", MOST_POSITIONS), counts(event, "tokens")
        confidences = confidences_of(event)
        if len(tokens) != len(positions) or len(confidences) not in (0, len(positions)):
            raise EventError(f"{len(positions)} positions, {len(tokens)} tokens and {len(confidences)} confidences")
        decisions = []
        for i, position in enumerate(positions):
            revises = position in self._seen or trace.is_given(position)
            confidence = confidences[i] if confidences else None
            decisions.append(Decision(self._step, position, tokens[i], confidence, revises))
            self._seen.add(position)
        final = count(event, "final", MOST_POSITIONS)
        masks = trace.masks
        end = masks[final] if final < len(masks) else len(trace.prompt) + final - len(masks)
        trace.steps.append(Step(self._step, self._rows, decisions, end))
