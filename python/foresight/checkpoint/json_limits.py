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
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_BLOCK = 1 << 20

# What each byte does to the nesting depth, outside of strings.
_DEPTH_STEP = np.zeros(256, dtype=np.int8)
_DEPTH_STEP[[ord("["), ord("{")]] = 1
_DEPTH_STEP[[ord("]"), ord("}")]] = -1
_STARTS_ITEM = np.zeros(256, dtype=bool)
_STARTS_ITEM[[ord("["), ord("{"), ord(",")]] = True


def check_shape(data: bytes, source: str, *, max_depth: int, max_items: int) -> None:
    """Checks nesting depth and number of items in linear time, without parsing.

    Exact for valid JSON; for anything else it counts no less than a parser would have opened before it failed.
    Raises CheckpointError naming `source` and the limit that is exceeded.
    """
    codes = np.frombuffer(_ESCAPE.sub(b"", data), dtype=np.uint8)
    quotes_before = depth_before = items = 0
    for start in range(0, codes.size, _BLOCK):
        block = codes[start : start + _BLOCK]
        quotes = quotes_before + np.cumsum(block == ord('"'), dtype=np.int64)
        outside = quotes % 2 == 0
        depths = depth_before + np.cumsum(np.where(outside, _DEPTH_STEP[block], 0), dtype=np.int64)
        items += int(np.count_nonzero(_STARTS_ITEM[block] & outside))
        quotes_before, depth_before = int(quotes[-1]), int(depths[-1])
        if depths.max() > max_depth:
            raise CheckpointError(f"{source}: JSON nested more than {max_depth} deep")
        if items > max_items:
            raise CheckpointError(f"{source}: JSON of more than {max_items} items")


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
