"""What `foresight generate` reads: prompts from the command line, a text file, a JSONL file or stdin.

Everything is checked before anything is generated; a message begins with the file and the line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONTENTS = ("prompt", "messages", "input_ids")
_FIELDS = (*_CONTENTS, "id", "seed", "max_new_tokens")
_SEEDS = range(2**64)
_LIMITS = range(1, 2**31)


@dataclass(frozen=True)
class Record:
    """One prompt to continue; exactly one of `prompt`, `messages` and `input_ids` is set.

    place: where it was read, for messages. id: its own, or else its line (or ordinal) from 1.
    """

    place: str
    id: str | int
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    input_ids: list[int] | None = None
    seed: int | None = None
    max_new_tokens: int | None = None


def records_of_prompts(prompts: Sequence[str]) -> list[Record]:
    """Make one record per prompt of the command line."""
    records = []
    for number, prompt in enumerate(prompts, 1):
        place = f"prompt {number}"
        records.append(Record(place, number, prompt=_text(prompt, "it", place)))
    return records


def read_records(source: str, *, jsonl: bool) -> list[Record]:
    """Read the file `source`, or stdin when it is "-": JSONL, or else one prompt per line.

    Blank lines are skipped, and counted. Raises ValueError for a malformed line, a repeated id, or
    a file without records.
    """
    name = "stdin" if source == "-" else source
    records = []
    places: dict[str | int, str] = {}
    for number, line in enumerate(_lines(source, name), 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        record = _parse(line, number, place) if jsonl else Record(place, number, prompt=line)
        if record.id in places:
            raise ValueError(f"{place}: the id {record.id!r} is that of {places[record.id]} already")
        places[record.id] = place
        records.append(record)
    if not records:
        raise ValueError(f"{name}: holds no prompts")
    return records


def _lines(source: str, name: str) -> Iterator[str]:
    data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}:{number}: not UTF-8 (byte {error.start + 1})") from None
        yield text.removesuffix("\r")


def _parse(line: str, number: int, place: str) -> Record:
    try:
        fields = json.loads(line, object_pairs_hook=_unique_fields)
    except RecursionError:
        raise ValueError(f"{place}: JSON nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{place}: not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{place}: expected a JSON object, got {_show(fields)}")
    unknown = [key for key in fields if key not in _FIELDS]
    if unknown:
        known = ", ".join(_FIELDS)
        raise ValueError(f"{place}: unknown field {_show(unknown[0])}; a record may have {known}")
    contents = [key for key in _CONTENTS if key in fields]
    if len(contents) != 1:
        found = " and ".join(contents) or "none"
        raise ValueError(f"{place}: exactly one of {', '.join(_CONTENTS)} is needed; found {found}")
    return Record(
        place,
        _id(fields.get("id", number), place),
        prompt=_text(fields["prompt"], "prompt", place) if "prompt" in fields else None,
        messages=_messages(fields["messages"], place) if "messages" in fields else None,
        input_ids=_token_ids(fields["input_ids"], place) if "input_ids" in fields else None,
        seed=_integer(fields.get("seed"), "seed", _SEEDS, place),
        max_new_tokens=_integer(fields.get("max_new_tokens"), "max_new_tokens", _LIMITS, place),
    )


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field {_show(repeated)} comes twice")
    return fields


def _id(value: object, place: str) -> str | int:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return value
    raise ValueError(f"{place}: id must be a string or an integer, got {_show(value)}")


def _text(value: object, name: str, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{place}: {name} must be a non-empty string, got {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place}: {name} holds half of a surrogate pair") from None
    return value


def _messages(value: object, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{place}: messages must be a non-empty list, got {_show(value)}")
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError(f"{place}: a message is an object with a role, got {_show(message)}")
        if "content" not in message:
            raise ValueError(f"{place}: a message needs a content, got {_show(message)}")
    return value


def _token_ids(value: object, place: str) -> list[int]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{place}: input_ids must be a non-empty list, got {_show(value)}")
    for token in value:
        if not isinstance(token, int) or isinstance(token, bool) or token < 0:
            raise ValueError(f"{place}: input_ids holds {_show(token)}, which is no token id")
    return value


def _integer(value: object, name: str, allowed: range, place: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return value
    limits = f"from {allowed[0]} to {allowed[-1]}"
    raise ValueError(f"{place}: {name} must be an integer {limits}, got {_show(value)}")


def _show(value: object) -> str:
    """`value` as JSON, short enough for a message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
