"""JSON (RFC 8259) from an untrusted file: bounded in bytes, depth, items and digits before and while it is parsed.

Python's parser accepts more than the format: repeated keys, NaN and Infinity, integers of any length. Repeated keys
and long integers are refused here always, the constants unless the caller allows them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from foresight.checkpoint.fields import shown
from foresight.checkpoint.files import MEBIBYTE, read_bytes
from foresight.errors import CheckpointError

__all__ = ["check_shape", "load_json", "load_object", "parse_json"]

_MAX_DIGITS = 32
# Two patterns without nested repeats, which match in linear time and constant memory whatever the input.
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"?')
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"[]{},")

# What each byte does to the nesting depth, outside of strings.
_DEPTH_STEP = np.zeros(256, dtype=np.int8)
_DEPTH_STEP[[ord("["), ord("{")]] = 1
_DEPTH_STEP[[ord("]"), ord("}")]] = -1


def check_shape(data: bytes, source: str, *, max_depth: int, max_items: int) -> None:
    """Checks nesting depth and number of items in linear time, without parsing.

    Exact for valid JSON; for anything else it counts no less than a parser would have opened before it failed.
    Raises CheckpointError naming `source` and the limit that is exceeded.
    """
    structure = _STRING.sub(b"", _ESCAPE.sub(b"", data)).translate(None, _NOT_STRUCTURE)
    items = structure.count(b"[") + structure.count(b"{") + structure.count(b",")
    if items > max_items:
        raise CheckpointError(f"{source}: JSON of more than {max_items} items")
    steps = _DEPTH_STEP[np.frombuffer(structure, dtype=np.uint8)]
    if steps.size and np.cumsum(steps, dtype=np.int64).max() > max_depth:
        raise CheckpointError(f"{source}: JSON nested more than {max_depth} deep")


def parse_json(
    data: bytes,
    source: str,
    *,
    max_depth: int = 64,
    max_items: int = 2_000_000,
    allow_constants: bool = False,
) -> Any:
    """The value written in `data`, which must be UTF-8 JSON within the limits.

    Raises CheckpointError naming `source` and what is wrong with it.
    """
    check_shape(data, source, max_depth=max_depth, max_items=max_items)

    def refuse(what: str) -> NoReturn:
        raise CheckpointError(f"{source}: {what}")

    def integer(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            refuse(f"an integer of {len(digits)} digits, expected at most {_MAX_DIGITS}")
        return int(digits)

    def constant(name: str) -> float:
        if not allow_constants:
            refuse(f"the constant {name}, which is not JSON")
        return float(name)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            refuse(f"the key {shown(repeated)} appears more than once in one object")
        return table

    try:
        return json.loads(
            data.decode("utf-8"),
            parse_int=integer,
            parse_constant=constant,
            object_pairs_hook=unique,
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{source}: is not UTF-8: {error}") from error
    except RecursionError as error:
        raise CheckpointError(f"{source}: JSON nested too deeply") from error
    except ValueError as error:
        raise CheckpointError(f"{source}: is not JSON: {error}") from error


def load_json(
    path: Path,
    *,
    max_bytes: int = 4 * MEBIBYTE,
    max_depth: int = 64,
    max_items: int = 200_000,
    allow_constants: bool = False,
) -> Any:
    """The value written in the file `path`, which must be UTF-8 JSON within the limits.

    Raises CheckpointError naming the file and what is wrong with it.
    """
    data = read_bytes(path, max_bytes)
    return parse_json(
        data,
        str(path),
        max_depth=max_depth,
        max_items=max_items,
        allow_constants=allow_constants,
    )


def load_object(path: Path, *, allow_constants: bool = False) -> dict[str, Any]:
    """The JSON object written in a settings file; CheckpointError also when it is some other value."""
    value = load_json(path, allow_constants=allow_constants)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a JSON {type(value).__name__}, expected an object")
    return value
