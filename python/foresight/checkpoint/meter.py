"""What one rendering of a chat template may cost, and what each operation may cost before it is done.

Costs are in units of roughly one character copied; a step of the program costs STEP of them. Sizes of values are those
of their written form with shared parts counted as often as they appear, as that is what writing, comparing or hashing
them takes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

__all__ = [
    "CONTAINERS",
    "MAX_BITS",
    "METER",
    "STEP",
    "Items",
    "LimitError",
    "Meter",
    "budget",
    "compare_cost",
    "format_size",
    "method_size",
    "percent_size",
    "power_bits",
    "replace_size",
    "shallow",
]

MAX_SIZE = 1 << 24  # characters of any value, and of the output
MAX_COST = 100_000_000
MAX_SECONDS = 10.0
MAX_DEPTH = 64
MAX_BITS = 4096
STEP = 64

CONTAINERS: tuple[type[Any], ...] = (
    list,
    tuple,
    dict,
    set,
    frozenset,
    range,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)

_SIZED: tuple[type[Any], ...] = (str, *CONTAINERS)


class LimitError(Exception):
    """A template asks for more time or memory than a chat may take."""


class Meter:
    """What one rendering may still cost, in units of roughly one character copied."""

    def __init__(self, data_size: int) -> None:
        self.left = MAX_COST + 32 * data_size
        self.max_size = MAX_SIZE + 4 * data_size
        self.deadline = time.monotonic() + MAX_SECONDS
        # Sizes of containers already seen, by identity; the container is kept so that its identity stays its own.
        self._known: dict[int, tuple[Any, int, int]] = {}

    def charge(self, cost: int) -> None:
        """Pays; LimitError when the budget or the time is used up."""
        self.left -= cost
        if self.left < 0 or time.monotonic() > self.deadline:
            raise LimitError("it takes too much work")

    def make(self, size: int) -> None:
        """Pays for a value of that many characters before it is made."""
        if size > self.max_size:
            raise LimitError(f"it makes a value of {size} characters, expected at most {self.max_size}")
        self.charge(size)

    def weigh(self, value: Any) -> int:
        """The characters that a value has when written out, shared parts counted as often as they appear."""
        return self._measure(value)[0]

    def depth(self, value: Any) -> int:
        """How deep containers are nested in a value."""
        return self._measure(value)[1]

    def _measure(self, value: Any) -> tuple[int, int]:
        if isinstance(value, str):
            return len(value) + 2, 0
        if isinstance(value, int):
            return value.bit_length() // 3 + 2, 0
        if not isinstance(value, CONTAINERS):
            return 32, 0
        if isinstance(value, range):
            return 8 * len(value), 1
        known = self._known.get(id(value))
        if known is not None:
            return known[1], known[2]
        self.charge(STEP + 2 * len(value))
        size, depth = 2, 0
        parts = (value, value.values()) if isinstance(value, dict) else (value,)
        for part in parts:
            for child in part:
                child_size, child_depth = self._measure(child)
                size += child_size + 2
                depth = max(depth, child_depth)
        if size > self.max_size or depth >= MAX_DEPTH:
            raise LimitError(f"it makes a value of {size} characters, nested {depth + 1} deep")
        self._known[id(value)] = (value, size, depth + 1)
        return size, depth + 1


METER: ContextVar[Meter] = ContextVar("foresight_template_meter")


class budget:  # noqa: N801 - a context manager, used as a function
    """Within it, templates may render; the limits grow with the size of the caller's own data."""

    def __init__(self, data_size: int) -> None:
        self._meter = Meter(data_size)

    def __enter__(self) -> Meter:
        self._token = METER.set(self._meter)
        return self._meter

    def __exit__(self, *_: object) -> None:
        METER.reset(self._token)


class Items:
    """An iterator that pays for each item."""

    def __init__(self, items: Iterator[Any], meter: Meter) -> None:
        self._items, self._meter = items, meter

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        self._meter.charge(STEP)
        return next(self._items)


def shallow(value: Any) -> int:
    return len(value) if isinstance(value, _SIZED) else 1


def compare_cost(meter: Meter, left: Any, right: Any, membership: bool) -> int:
    if membership and isinstance(right, str):
        return len(right) // 16 + 1
    if membership and isinstance(right, (dict, set, frozenset)):
        return meter.weigh(left)
    if membership:
        return min(meter.weigh(right), shallow(right) * meter.weigh(left))
    return min(meter.weigh(left), meter.weigh(right)) // 16 + 1


def replace_size(text: str, old: str, new: str) -> int:
    return len(text) + (text.count(old) if old else len(text) + 1) * len(new)


def percent_size(meter: Meter, text: str, arguments: Any) -> int:
    if re.search(r"%[^%a-zA-Z]*(\*|\d{4})", text):
        raise LimitError("a % format has a width above 999")
    return len(text) + text.count("%") * (meter.weigh(arguments) + 1000)


def format_size(meter: Meter, text: str, arguments: Any) -> int:
    if re.search(r"\{[^{}]*:[^{}]*(\d{4}|\{)", text):
        raise LimitError("a format has a width above 999 or of its own making")
    return len(text) + text.count("{") * (meter.weigh(arguments) + 1000)


def method_size(meter: Meter, text: str, name: str, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    """The size of what a method of a string gives; `args` may be made concrete on the way."""
    first = args[0] if args else None
    if name in ("center", "ljust", "rjust", "zfill"):
        return max(len(text), first) if isinstance(first, int) else len(text)
    if name == "expandtabs":
        width = kwargs.get("tabsize", first)
        return len(text) + text.count("\t") * (width if isinstance(width, int) else 8)
    if name == "replace" and len(args) > 1 and isinstance(first, str) and isinstance(args[1], str):
        return replace_size(text, first, args[1])
    if name == "join" and args:
        args[0] = list(args[0])
        return meter.weigh(args[0]) + len(args[0]) * len(text)
    return len(text)


def power_bits(base: Any, exponent: Any) -> int:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        return base.bit_length() * max(exponent, 0)
    return 0
