"""The filters and tests of a chat template, each paying for its work before it does it.

Kept are those that chat templates use; filters that make text of their own (`urlize`, `xmlattr`, `pprint`, `wordwrap`,
`batch`, `slice`, `random`, `filesizeformat`, `forceescape`) are not there.
"""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Callable, Mapping
from typing import Any

from foresight.checkpoint.meter import (
    METER,
    STEP,
    Items,
    LimitError,
    Meter,
    compare_cost,
    percent_size,
    replace_size,
    shallow,
)

__all__ = ["KEPT_FILTERS", "metered_filter", "metered_test", "tojson"]


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    meter = METER.get()
    width = indent if isinstance(indent, int) else len(indent) if isinstance(indent, str) else 0
    if width > 16 or any(len(part) > 16 for part in separators or ()):
        raise LimitError("tojson with an indent or a separator above 16 characters")
    meter.make(meter.weigh(value) * (2 + max(width, 0) * meter.depth(value)))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _join_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    args[0] = list(args[0])
    glue = kwargs.get("d", args[1] if len(args) > 1 else "")
    return meter.weigh(args[0]) + len(args[0]) * meter.weigh(glue)


def _indent_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    width = kwargs.get("width", args[1] if len(args) > 1 else 4)
    size = width if isinstance(width, int) else meter.weigh(width)
    return meter.weigh(args[0]) + (str(args[0]).count("\n") + 1) * max(size, 0)


def _center_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    width = kwargs.get("width", args[1] if len(args) > 1 else 80)
    return max(meter.weigh(args[0]), width if isinstance(width, int) else 0)


def _replace_filter_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    old = str(kwargs.get("old", args[1] if len(args) > 1 else ""))
    new = str(kwargs.get("new", args[2] if len(args) > 2 else ""))
    meter.make(meter.weigh(args[0]))
    return replace_size(str(args[0]), old, new)


def _format_filter_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    return percent_size(meter, str(args[0]), [*args[1:], *kwargs.values()])


def _sort_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    if isinstance(args[0], Items):
        args[0] = list(args[0])
    meter.charge(meter.weigh(args[0]) * shallow(args[0]).bit_length())
    return 0


def _sum_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    start = kwargs.get("start", args[2] if len(args) > 2 else 0)
    if not isinstance(start, (int, float)):
        raise LimitError("sum of anything but numbers")
    return shallow(args[0])


def _round_size(meter: Meter, args: list[Any], kwargs: Mapping[str, Any]) -> int:
    precision = kwargs.get("precision", args[1] if len(args) > 1 else 0)
    if isinstance(precision, int) and abs(precision) > 64:
        raise LimitError("round to more than 64 digits")
    return 1


_FREE_FILTERS = frozenset({"attr", "count", "d", "default", "first", "last", "length"})
_SHALLOW_FILTERS = frozenset(
    {"items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "safe"}
)
_DEEP_FILTERS = frozenset(
    {"abs", "capitalize", "e", "escape", "float", "int", "lower", "string", "striptags", "title", "trim", "truncate",
     "upper", "urlencode", "wordcount"}
)  # fmt: skip
_SIZED_FILTERS: dict[str, Callable[[Meter, list[Any], Mapping[str, Any]], int]] = {
    "center": _center_size,
    "dictsort": _sort_size,
    "format": _format_filter_size,
    "groupby": _sort_size,
    "indent": _indent_size,
    "join": _join_size,
    "max": _sort_size,
    "min": _sort_size,
    "replace": _replace_filter_size,
    "round": _round_size,
    "sort": _sort_size,
    "sum": _sum_size,
    "unique": _sort_size,
}

KEPT_FILTERS = _FREE_FILTERS | _SHALLOW_FILTERS | _DEEP_FILTERS | _SIZED_FILTERS.keys()


def metered_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    offset = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        meter = METER.get()
        meter.charge(STEP)
        values = list(args[offset:])
        if name in _SIZED_FILTERS:
            meter.make(_SIZED_FILTERS[name](meter, values, kwargs))
        elif name in _SHALLOW_FILTERS:
            meter.charge(shallow(values[0]))
        elif name in _DEEP_FILTERS:
            meter.make(sum(meter.weigh(value) for value in [*values, *kwargs.values()]))
        result = function(*args[:offset], *values, **kwargs)
        if isinstance(result, types.GeneratorType) or hasattr(type(result), "__next__"):
            return result if isinstance(result, Items) else Items(result, meter)
        meter.weigh(result)
        return result

    return metered


_ORDER_TESTS = frozenset(
    {"eq", "equalto", "==", "ne", "!=", "lt", "<", "lessthan", "le", "<=", "gt", ">", "greaterthan", "ge", ">=", "in"}
)


def metered_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        meter = METER.get()
        meter.charge(STEP)
        if name in _ORDER_TESTS and len(args) > 1:
            meter.charge(compare_cost(meter, args[0], args[1], name == "in"))
        elif name in ("lower", "upper"):
            meter.charge(meter.weigh(args[0]))
        return function(*args, **kwargs)

    return metered
