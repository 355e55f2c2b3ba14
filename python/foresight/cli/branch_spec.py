"""How `--branches` is read: a number, a controller's name, or a name with options."""

from __future__ import annotations

import re
from typing import Any

import typer

from foresight.cli.options import parse_assignments

__all__ = ["parse_branches"]

_OPTION = "--branches"
_NEXT_OPTION = re.compile(r",(?=\s*[A-Za-z_]\w*\s*=)")  # so that sizes=[8,56] stays in one piece


def parse_branches(spec: str) -> Any:
    """The controller that `spec` means: "8", "auto", or "parallel_probe:width=16,stable=8", values as in --set."""
    from foresight.controllers import named, resolve

    name, colon, text = spec.strip().partition(":")
    options = parse_assignments(_NEXT_OPTION.split(text) if colon else None, _OPTION)
    try:
        if re.fullmatch(r"[+-]?\d+", name) and not colon:
            return resolve(int(name))
        return named(name.strip(), **options)
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error), param_hint=_OPTION) from error
