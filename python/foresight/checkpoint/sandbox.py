"""A Jinja environment for chat templates, which are programs from an untrusted file: safe, and bounded in time and memory.

It renders what transformers' environment renders (sandboxed and immutable, trim_blocks, lstrip_blocks, loop controls,
`raise_exception`, `strftime_now`, `tojson` without HTML escapes, the `generation` tag), under a budget per rendering.
A rewriting of the parsed template makes every loop, literal, comparison, slice and concatenation pass through a Meter;
operators, calls, filters, tests and outputs already pass through the environment. Each pays for what it may cost before
it is done. Left out are filters and functions that make text of their own (`lipsum`, `urlize`, `pprint`, ...).
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
import jinja2.ext
import jinja2.nodes as nodes
import jinja2.runtime
import jinja2.utils
from jinja2.sandbox import ImmutableSandboxedEnvironment

from foresight.checkpoint.meter import (
    CONTAINERS,
    MAX_BITS,
    METER,
    STEP,
    Items,
    LimitError,
    format_size,
    method_size,
    percent_size,
    power_bits,
    shallow,
)
from foresight.checkpoint.metered_filters import KEPT_FILTERS, metered_filter, metered_test, tojson
from foresight.checkpoint.rewriter import REWRITTEN, Generation, Rewriter

__all__ = ["TemplateEnvironment"]

_STRING_METHODS = frozenset(
    {"capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "format_map", "index",
     "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable",
     "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
     "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
     "strip", "swapcase", "title", "upper", "zfill"}
)  # fmt: skip
_CONTAINER_METHODS = frozenset({"copy", "count", "get", "index", "items", "keys", "values", "grouper", "list"})


def _raise_exception(message: Any) -> NoReturn:
    raise jinja2.exceptions.TemplateError(str(message)[:10_000])


def _strftime_now(form: str) -> str:
    if len(form) > 1000 or re.search(r"%[^a-zA-Z%]*\d{3}", form):
        raise LimitError("strftime_now with too long a format")
    return datetime.now().strftime(form)


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)


class _Namespace(jinja2.utils.Namespace):
    """Jinja's namespace, whose written form does not show its (perhaps circular) content."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            _check_public(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _check_public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace attribute may not be called {name!r}")


@jinja2.pass_context
def _finalize(context: jinja2.runtime.Context, value: Any) -> Any:
    meter = METER.get()
    meter.make(meter.weigh(value))
    return value


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The environment of one chat template; rendering needs a `budget` around it."""

    intercepted_binops = frozenset(("//", "%", "+", "*", "-", "/", "**"))

    def __init__(self) -> None:
        # Constants are not folded at compile time: there is no budget then.
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=_finalize,
            extensions=[jinja2.ext.LoopControlExtension, Generation],
        )

        self.filters = {name: metered_filter(name, self.filters[name]) for name in KEPT_FILTERS}
        self.filters |= {"tojson": tojson, **REWRITTEN}
        self.tests = {
            name: metered_test(name, cast(Callable[..., Any], function)) for name, function in self.tests.items()
        }
        del self.globals["lipsum"]
        self.globals |= {
            "dict": _dict,
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return Rewriter().visit(super()._parse(source, name, filename))  # type: ignore[no-any-return]

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Pays for the result of a binary operator, then applies it."""
        meter = METER.get()
        meter.charge(STEP)
        if operator == "+":
            meter.make(shallow(left) + shallow(right))
        elif operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, (str, list, tuple)) and isinstance(other, int):
                    meter.make(meter.weigh(one) * max(other, 0))
        elif operator == "%" and isinstance(left, str):
            meter.make(percent_size(meter, left, right))
        bits = power_bits(left, right) if operator == "**" else 0
        if max(bits, *(v.bit_length() if isinstance(v, int) else 0 for v in (left, right))) > MAX_BITS:
            raise LimitError(f"it computes with numbers of more than {MAX_BITS} bits")
        result = super().call_binop(context, operator, left, right)
        meter.weigh(result)
        return result

    def call(self, context: jinja2.runtime.Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Pays for a call, then makes it."""
        meter = METER.get()
        meter.charge(STEP)
        values = list(args)
        owner = getattr(function, "__self__", None)
        if isinstance(function, types.BuiltinMethodType) and isinstance(owner, str):
            if function.__name__ not in ("startswith", "endswith"):
                meter.make(method_size(meter, owner, function.__name__, values, kwargs))
        elif isinstance(function, types.BuiltinMethodType) and isinstance(owner, CONTAINERS):
            if function.__name__ in ("index", "count"):
                meter.charge(meter.weigh(owner))
            elif function.__name__ == "get" and values:
                meter.charge(meter.weigh(values[0]))
        elif isinstance(owner, jinja2.runtime.LoopContext):
            meter.charge(sum(meter.weigh(value) for value in values))
        if isinstance(function, jinja2.runtime.LoopContext) and values:
            values[0] = Items(iter(values[0]), meter)
        result = super().call(context, function, *values, **kwargs)
        meter.weigh(result)
        return result

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Of the built-in types, only methods whose cost is known; of all others, what the sandbox allows."""
        if isinstance(obj, str):
            return attr in _STRING_METHODS
        if isinstance(obj, CONTAINERS):
            return attr in _CONTAINER_METHODS
        if isinstance(obj, (int, float, bytes, type(None))):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`"...".format`, sandboxed by the base class, paid for here."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text = value.__self__

        def metered(*args: Any, **kwargs: Any) -> str:
            meter = METER.get()
            meter.make(format_size(meter, text, [args, kwargs]))
            return wrapped(*args, **kwargs)

        return metered
