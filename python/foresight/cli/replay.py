"""`foresight replay`: what a controller would have decided over recorded branches."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from foresight.cli.options import CommandError, Debug, parse_assignments
from foresight.cli.screen import Screen

_NUMBERS = ("accuracy", "sequential_tokens", "total_tokens", "probes", "same_as_full_vote")


def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Released Parallel-Probe JSON, or traces with branches=.")
    ],
    controller: Annotated[
        str, typer.Option("--controller", metavar="NAME", help="A controller's class name in snake case: beta_stop.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the controller, as JSON. May be repeated."),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", min=1, metavar="N", help="Branches of each draw; the controller's own.")
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", min=0, metavar="N", help="Random draws of branches; 0: one, in the file's order.")
    ] = 100,
    probe_cost: Annotated[
        int, typer.Option("--probe-cost", min=0, metavar="N", help="Tokens to charge for each probe.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: Debug = False,
) -> None:
    """Let a controller decide over recorded branches."""
    import foresight as fs
    from foresight.controllers import named, with_width

    try:
        chosen = named(controller, **parse_assignments(settings, "--set"))
        chosen = chosen if width is None else with_width(chosen, width)
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error), param_hint="--controller") from error
    try:
        results = fs.replay(files, chosen, draws=draws, probe_cost=probe_cost)
    except ValueError as error:
        raise CommandError(str(error)) from error
    rows = [_row(result) for result in results]
    average = _average(rows) if len(rows) > 1 else None
    if as_json:
        options = {"controller": controller, **chosen.core_options(), "draws": draws, "probe_cost": probe_cost}
        report: dict[str, Any] = {**options, "files": rows}
        if average is not None:
            report["average"] = average
        typer.echo(json.dumps(_finite(report), indent=2))
        return
    _show(Screen(), controller, chosen.core_options(), rows, average)


def _row(result: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(result) if field.name != "per_question"]
    return {name: getattr(result, name) for name in names}


def _average(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Every file counts the same; its error is that of independent files."""
    average: dict[str, Any] = {name: math.fsum(row[name] for row in rows) / len(rows) for name in _NUMBERS}
    average["questions"] = sum(row["questions"] for row in rows)
    errors = [row["accuracy_standard_error"] for row in rows]
    average["accuracy_standard_error"] = math.sqrt(math.fsum(error * error for error in errors)) / len(rows)
    return average


def _finite(value: Any) -> Any:
    """The same with null for NaN, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _show(
    screen: Screen, name: str, options: dict[str, Any], rows: list[dict[str, Any]], average: dict[str, Any] | None
) -> None:
    said = ", ".join(f"{key}={value}" for key, value in options.items())
    screen.line(screen.bold(name) + f"  {said}")
    table = [["file", "questions", "accuracy", "sequential", "total", "probes", "as full vote"]]
    table += [[_printable(Path(row["file"]).name), *_cells(row)] for row in rows]
    if average is not None:
        table.append(["average", *_cells(average)])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        screen.line("  ".join(cells).rstrip())


def _cells(row: dict[str, Any]) -> list[str]:
    accuracy = "unknown"
    if not math.isnan(row["accuracy"]):
        accuracy = f"{100 * row['accuracy']:.2f}"
        if not math.isnan(row["accuracy_standard_error"]):
            accuracy += f" +- {100 * row['accuracy_standard_error']:.2f}"
    same = row["same_as_full_vote"]
    return [
        str(row["questions"]),
        accuracy,
        *(f"{row[key]:,.0f}" for key in ("sequential_tokens", "total_tokens", "probes")),
        "unknown" if math.isnan(same) else f"{100 * same:.1f} %",
    ]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
