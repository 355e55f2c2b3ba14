"""Options that several commands share, and how KEY=VALUE is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

# What a command itself gives to generate(), and what its output has no place for.
_OWN = ("inputs", "input_ids", "attention_mask", "generation_config", "streamer", "trace")
_UNWRITTEN = ("output_scores", "output_logits", "output_logprobs", "return_dict_in_generate")

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_WORD = re.compile(r"[A-Za-z_][\w./:-]*")
_PYTHON_CONSTANTS = {"True": "true", "False": "false", "None": "null"}


class CommandError(Exception):
    """A failure whose text says all there is to say."""


@dataclass
class State:
    """What `main` has to know of the command that runs."""

    debug: bool = False


def _set_debug(context: typer.Context, wanted: bool) -> None:
    if wanted:
        context.find_root().obj.debug = True


def parse_size(text: str) -> int:
    """Read a number of bytes: 4294967296, 4096M, 4G or 4GiB."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a number of bytes; write for example 512M or 4G")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_assignments(assignments: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Read KEY=VALUE texts. A value is JSON; a bare word such as `full` is taken as a string."""
    result: dict[str, Any] = {}
    for assignment in assignments or ():
        key, sign, text = assignment.partition("=")
        key = key.strip()
        if not sign or not key.isidentifier():
            raise typer.BadParameter(f"{assignment!r} is not KEY=VALUE", param_hint=option)
        if key in result:
            raise typer.BadParameter(f"{key} is given twice", param_hint=option)
        result[key] = _parse_value(key, text.strip(), option)
    return result


def parse_settings(settings: Sequence[str] | None, refused: Sequence[str] = ()) -> dict[str, Any]:
    """Read --set; what a command gives by itself, or could not show, is a usage error."""
    assignments = parse_assignments(settings, "--set")
    for key in assignments:
        if key in _OWN:
            raise typer.BadParameter(f"{key} is what the command itself gives", param_hint="--set")
        if key in _UNWRITTEN or key in refused:
            hint = f"{key}: the output has no place for that; use generate() in Python"
            raise typer.BadParameter(hint, param_hint="--set")
    return assignments


def _parse_value(key: str, text: str, option: str) -> Any:
    if text in _PYTHON_CONSTANTS:
        hint = f"{key}={text}: values are JSON, so write {_PYTHON_CONSTANTS[text]}"
        raise typer.BadParameter(hint, param_hint=option)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if _WORD.fullmatch(text):
            return text
        raise typer.BadParameter(f"{key}={text}: the value is not JSON", param_hint=option) from None


def merge_options(assignments: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Add the options that have names of their own (None: not given) to those from --set."""
    result = dict(assignments)
    for key, value in named.items():
        if value is None:
            continue
        if key in result:
            flag = "--stop" if key == "stop_strings" else "--" + key.replace("_", "-")
            raise typer.BadParameter(f"{key} is given here and as {flag}", param_hint="--set")
        result[key] = value
    return result


Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A folder, a hub id (owner/name) or bundled:NAME."),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any option of generate(), as JSON: --set repetition_penalty=1.1. May be repeated.",
    ),
]
Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="KEY=VALUE",
        help="State what the checkpoint's files do not say, as JSON. May be repeated.",
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, metavar="N", help="Threads to compute with.")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", metavar="NAME", help="Compute in auto, float32, bfloat16 or float16."),
]
CacheBytes = Annotated[
    int | None,
    typer.Option(
        "--kv-cache-bytes",
        parser=parse_size,
        metavar="BYTES",
        help="Memory for the key-value cache, for example 512M or 4G.",
    ),
]
Revision = Annotated[str | None, typer.Option("--revision", metavar="NAME", help="Branch, tag or commit of a hub id.")]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", min=1, metavar="N", help="Stop after this many new tokens.")
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="X", help="Sampling temperature; needs --do-sample.")
]
DoSample = Annotated[
    bool | None,
    typer.Option("--do-sample/--no-do-sample", help="Sample, or take the best token each time."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, metavar="N", help="Makes sampling repeatable; fresh when absent.")
]
