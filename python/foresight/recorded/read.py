"""Reading a file of recorded requests; which format it has is seen from its beginning."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foresight.recorded.records import Recording
from foresight.recorded.released import questions_from

__all__ = ["Source", "read"]

Source = str | os.PathLike[str] | Recording | Sequence[Mapping[str, Any]]

MOST_BYTES = 1 << 30


def read(source: Source) -> Recording:
    """Reads a file in the released Parallel-Probe format (JSON), or one that lm.generate(..., branches=..., trace=path)
    wrote (JSON lines). What the JSON of a released file holds may also be given as it is.

    Raises ValueError, with the line or the question, branch and field, for what is neither; OSError.
    """
    if isinstance(source, Recording):
        return source
    if not isinstance(source, (str, os.PathLike)):
        return Recording("records", questions_from(source, "records"))
    name = os.fsdecode(source)
    path = Path(source)
    with path.open("rb") as file:
        beginning = file.read(4096).lstrip()[:1]
    if beginning == b"{":
        from foresight.recorded.trace import questions_of_trace

        return Recording(name, questions_of_trace(path))
    if beginning != b"[":
        raise ValueError(
            f"{name}: not recorded branches: it begins with {beginning.decode('latin-1')!a}, not with [ or {{"
        )
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{name}: {size} bytes; files of more than {MOST_BYTES >> 20} MiB are not read")
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{name}: line {error.lineno}, column {error.colno}: not JSON, or cut off: {error.msg}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not JSON: {error}") from None
    return Recording(name, questions_from(content, name))
