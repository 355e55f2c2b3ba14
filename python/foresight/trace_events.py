"""The events of a trace file, one at a time: bounded, checked, and with the line's number in what is wrong with them."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

__all__ = [
    *("MOST_POSITIONS", "EventError", "EventReader", "Source"),
    *("confidences_of", "count", "counts", "is_controlled", "number_of", "shown", "text_of"),
]

Source = str | os.PathLike[str] | Iterable[Mapping[str, Any]]

MOST_BYTES = 1 << 29
MOST_LINE_BYTES = 1 << 25
MOST_POSITIONS = 1 << 22
_MOST = 2**53  # of a count, and of a token
_MOST_CONFIDENCE = 1e6


class EventError(Exception):
    """What is wrong with an event; `ahead`: 1 where it was not counted yet."""

    ahead = 0


class EventReader(ABC):
    """Takes the events in their order; counts the sequences, those of a controller as they start.

    num_sequences: so far. truncated: the last line had no end, and was left out.
    """

    def __init__(self) -> None:
        self.num_sequences = 0
        self.truncated = False
        self.controlled: dict[int, Mapping[str, Any]] = {}  # the request events that name a controller, by number
        self._is_begun = False
        self._num_requests = 0
        self.started: set[int] = set()  # sequences of controllers, whose numbers need not be those of their starts

    def read(self, source: Source) -> None:
        """Reads a file, or events as they are read from JSON. Raises ValueError where they are no trace, OSError."""
        is_path = isinstance(source, (str, os.PathLike))
        name = os.fsdecode(source) if is_path else "the trace"  # type: ignore[arg-type]
        unit, number = "line" if is_path else "event", 0
        try:
            for event in self._lines(source) if is_path else source:  # type: ignore[arg-type,union-attr]
                number += 1
                self._take(event)
        except EventError as error:
            raise ValueError(f"{name}: {unit} {number + error.ahead}: {error}") from None
        if number == 0:
            raise ValueError(f"{name}: not a trace: there are no events in it")
        try:
            self.end()
        except EventError as error:
            raise ValueError(f"{name}: {error}") from None

    @abstractmethod
    def event(self, kind: str, event: Mapping[str, Any]) -> None:
        """Takes an event that is no request and no start."""

    @abstractmethod
    def request(self, event: Mapping[str, Any], sequences: int) -> None:
        """Takes a request, whose sequences follow the `num_sequences` before it; none yet with a controller."""

    @abstractmethod
    def start(self, event: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        """Takes the start of a controller's branch; it is not counted yet."""

    @abstractmethod
    def end(self) -> None:
        """Called after the last event; EventError where something was missing."""

    def sequence(self, event: Mapping[str, Any]) -> int:
        """The sequence that an event names."""
        branch = count(event, "branch")
        if branch not in self.started and (self.started or branch >= self.num_sequences):
            raise EventError(f"sequence {branch} was never requested")
        return branch

    def _take(self, event: Any) -> None:
        if not isinstance(event, Mapping) or not isinstance(event.get("kind"), str):
            raise EventError('not a trace: expected an object with a "kind"')
        kind = event["kind"]
        if not self._is_begun and kind != "request":
            raise EventError(f"not a trace: it begins with {shown(kind)} and not with a request")
        self._is_begun = True
        if kind == "request":
            self._request(event)
        elif kind == "start":
            number, branch = count(event, "request"), count(event, "branch")
            if number not in self.controlled:
                raise EventError(f"a branch starts for request {number}, which has no controller")
            if branch in self.started:
                raise EventError(f"sequence {branch} starts twice")
            self.start(event, self.controlled[number])
            self.started.add(branch)
            self.num_sequences += 1
        else:
            self.event(kind, event)

    def _request(self, event: Mapping[str, Any]) -> None:
        first, sequences = count(event, "branch"), count(event, "sequences")
        is_controlled = "controller" in event
        if (sequences == 0) != is_controlled or not (is_controlled or first == self.num_sequences):
            raise EventError(f"a request of {sequences} sequences from {first} on, after {self.num_sequences} others")
        if self._num_requests and bool(self.controlled) != is_controlled:
            raise EventError("a request with a controller and one without: they are not of one call")
        self._num_requests += 1
        if is_controlled:
            text_of(event, "controller", 200)
            number = count(event, "request")
            if number in self.controlled:
                raise EventError(f"request {number} comes twice")
            self.controlled[number] = event
        self.request(event, sequences)
        self.num_sequences += sequences

    def _lines(self, path: str | os.PathLike[str]) -> Iterator[Any]:
        with open(path, "rb") as file:  # noqa: PTH123 (a path-like of the caller's)
            yield from self._parsed(file)

    def _parsed(self, file: IO[bytes]) -> Iterator[Any]:
        left = MOST_BYTES
        while line := file.readline(MOST_LINE_BYTES + 1):
            left -= len(line)
            error = None
            if len(line) > MOST_LINE_BYTES:
                error = EventError(f"longer than {MOST_LINE_BYTES >> 20} MiB, which no trace is")
            elif left < 0:
                error = EventError(f"a trace of more than {MOST_BYTES >> 20} MiB is not read")
            else:
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    if not line.endswith(b"\n") and self._is_begun:
                        self.truncated = True
                        return
                    error = EventError("not a trace: the line is not JSON")
            if error is not None:
                error.ahead = 1
                raise error
            yield event


def is_controlled(path: str | os.PathLike[str]) -> bool:
    """Whether a file's first line is the request of a controller; False also where it is no trace."""
    with open(path, "rb") as file:  # noqa: PTH123 (a path-like of the caller's)
        try:
            event = json.loads(file.readline(MOST_LINE_BYTES))
        except (ValueError, RecursionError):
            return False
    return isinstance(event, dict) and event.get("kind") == "request" and "controller" in event


def shown(value: Any) -> str:
    """A value of a file, as an error quotes it."""
    text = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
    return text if len(text) <= 40 else text[:40] + "..."


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def count(event: Mapping[str, Any], name: str, most: int = _MOST) -> int:
    """An integer from 0 to `most`."""
    value = event.get(name)
    if not _is_count(value, most):
        raise EventError(f"{name} is {shown(value)}, expected an integer from 0 to {most}")
    return int(value)  # type: ignore[arg-type]


def counts(event: Mapping[str, Any], name: str, below: int = _MOST) -> list[int]:
    """A list of integers from 0, all less than `below`."""
    values = event.get(name)
    if not isinstance(values, list) or len(values) > MOST_POSITIONS:
        raise EventError(f"{name} is not a list of at most {MOST_POSITIONS} integers")
    for value in values:
        if not _is_count(value, below - 1):
            raise EventError(f"{name} holds {shown(value)}, expected integers from 0 to {below - 1}")
    return values


def text_of(event: Mapping[str, Any], name: str, most: int) -> str:
    """A text of at most `most` characters."""
    value = event.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise EventError(f"{name} is {shown(value)}, expected a text of at most {most} characters")
    return value


def number_of(event: Mapping[str, Any], name: str) -> float:
    """A finite number of a size that a confidence may have."""
    value = event.get(name)
    if not (type(value) in (int, float) and abs(value) <= _MOST_CONFIDENCE):  # type: ignore[arg-type]
        raise EventError(f"{name} is {shown(value)}, expected a number up to {_MOST_CONFIDENCE:.0f}")
    return float(value)  # type: ignore[arg-type]


def confidences_of(event: Mapping[str, Any]) -> list[float | None]:
    """The confidences of a commit."""
    values = event.get("confidences")
    if not isinstance(values, list) or len(values) > MOST_POSITIONS:
        raise EventError(f"confidences is not a list of at most {MOST_POSITIONS} numbers")
    for value in values:
        if value is not None and not (type(value) in (int, float) and abs(value) <= _MOST_CONFIDENCE):
            raise EventError(
                f"confidences holds {shown(value)}, expected numbers up to {_MOST_CONFIDENCE:.0f}, or null"
            )
    return [None if value is None else float(value) for value in values]
