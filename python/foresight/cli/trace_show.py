"""`foresight trace show`: in which order, and how surely, the positions of a sequence were decided; or, where a
controller was at work, its branches (branch_view.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.atomic_file import atomic_writer
from foresight.cli import branch_view
from foresight.cli.options import CommandError, Debug
from foresight.cli.screen import Screen
from foresight.plots.branch_map import draw as draw_branches
from foresight.plots.branch_page import branch_page
from foresight.plots.order_map import draw as draw_order
from foresight.trace_branches import read_branches
from foresight.trace_events import is_controlled
from foresight.trace_file import Step, Trace, read_trace, share_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_STEPS_SHOWN = 40
_MOST_ROWS_SHOWN = 200
_GIVEN, _OPEN = ".", "-"


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What generate(..., trace=FILE) wrote.")],
    branch: Annotated[
        int | None,
        typer.Option("--branch", min=0, metavar="N", help="Show this sequence, counted over all prompts from 0."),
    ] = None,
    request: Annotated[
        int | None,
        typer.Option("--request", min=0, metavar="N", help="Show the branches of this prompt, counted from 0."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, metavar="N", help="Branches shown; by default what fits.")
    ] = None,
    columns: Annotated[
        int | None, typer.Option("--columns", min=1, metavar="N", help="Positions in a row; by default what fits.")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw it as a picture, too.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the branches as one page, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: Debug = False,
) -> None:
    """Show what happened: branches, probes and votes under a controller, else the order of decisions."""
    if request is not None or (branch is None and is_controlled(file)):
        if branch is not None or columns is not None:
            raise CommandError("--request shows all branches, --branch and --columns one sequence: give one of them")
        _show_request(file, request, rows, png, html, as_json)
        return
    for option, value in (("--rows", rows), ("--html", html)):
        if value is not None:
            raise CommandError(f"{option} is for the branches of a controller, and this shows one sequence")
    trace = read_trace(file, branch or 0)
    if png is not None:
        _save(lambda: draw_order(trace), png)
    if as_json:
        typer.echo(json.dumps(_report(trace), indent=2))
        return
    screen = Screen()
    _show_summary(trace, file.name, screen)
    if trace.steps:
        _show_map(trace, screen, columns)
        _show_steps(trace, screen)


def _show_request(
    file: Path, request: int | None, rows: int | None, png: Path | None, html: Path | None, as_json: bool
) -> None:
    trace = read_branches(file, request)
    if png is not None:
        _save(lambda: draw_branches(trace), png)
    if html is not None:
        with atomic_writer(html) as page:
            page.write(branch_page(trace, file.name))
    if as_json:
        typer.echo(json.dumps(branch_view.report(trace), indent=2))
    else:
        branch_view.show_branches(trace, file.name, Screen(), rows)


def _save(make: Callable[[], Figure], png: Path) -> None:
    try:
        figure = make()
    except ImportError as error:
        raise CommandError(str(error)) from error
    figure.savefig(png, format="png")


def _show_summary(trace: Trace, name: str, screen: Screen) -> None:
    title = "".join(c if c.isprintable() else "?" for c in name)
    which = f"  sequence {trace.branch} of {trace.num_sequences:,}" if trace.num_sequences > 1 else ""
    screen.line(screen.bold(title) + which)
    given = len(trace.prompt) - len(trace.masks)
    parts = [
        f"{given:,} given, {len(trace.decided):,} decided in {_plural(len(trace.steps), 'step')}",
        _plural(trace.revisions, "revision"),
        f"ended by {trace.finish_reason}" if trace.finish_reason else "not finished",
    ]
    if trace.new_tokens is not None and trace.new_tokens != len(trace.decided):
        parts.insert(2, f"{trace.new_tokens:,} kept")
    screen.paragraph(", ".join(parts))
    if trace.truncated:
        screen.line(screen.dim("The last line of the file is cut off; it is left out."))


def _show_map(trace: Trace, screen: Screen, columns: int | None) -> None:
    """One cell per position: the step that decided it, its confidence as a shade, a star where it revised."""
    screen.heading("The step that decided each position")
    digits = max(2, len(str(trace.steps[-1].index)))
    label = len(str(trace.length))
    count = columns or _fitting((screen.width - 4 - label) // (digits + 2))
    rows = sorted({position // count for position in trace.decided})
    span = trace.confidence_range()
    for before, row in zip([-1, *rows], rows[:_MOST_ROWS_SHOWN], strict=False):
        if row > before + 1:
            what = "given" if row * count <= len(trace.prompt) else "not decided"
            screen.line(screen.dim(f"  {(before + 1) * count:>{label}}  ... to {row * count - 1}: {what}"))
        cells = []
        for position in range(row * count, min((row + 1) * count, trace.length)):
            decisions = trace.decided.get(position)
            if decisions is None:
                mark = _GIVEN if trace.is_given(position) else _OPEN
                cells.append(screen.dim(f" {mark:>{digits}} "))
                continue
            last = decisions[-1]
            share = share_of(last.confidence, span)
            star = "*" if last.revises else " "
            cells.append(screen.tint(f"{star}{last.step:>{digits}}{screen.shade(share)}", share))
        screen.line(f"  {screen.dim(f'{row * count:>{label}}')}  {''.join(cells)}".rstrip())
    if len(rows) > _MOST_ROWS_SHOWN:
        screen.line(screen.dim(f"  ... and {len(rows) - _MOST_ROWS_SHOWN:,} rows more; --json has them all"))
    screen.line()
    screen.paragraph(_legend(trace, span, screen), indent=2)


def _legend(trace: Trace, span: tuple[float, float] | None, screen: Screen) -> str:
    words = [f"{_GIVEN} given"]
    if any(p not in trace.decided and not trace.is_given(p) for p in range(trace.length)):
        words.append(f"{_OPEN} not decided")
    if trace.revisions:
        words.append("* revised")
    if span is None:
        words.append("no confidences were read (output_logprobs records them)")
    else:
        shades = "".join(screen.shade(step / 3) for step in range(4))
        words.append(f"confidence {_number(span[0])} {shades} {_number(span[1])}")
    return "; ".join(words)


def _show_steps(trace: Trace, screen: Screen) -> None:
    """A line per step, or per run of steps where there are many."""
    size = -(-len(trace.steps) // _MOST_STEPS_SHOWN)
    groups = [trace.steps[at : at + size] for at in range(0, len(trace.steps), size)]
    screen.heading("What each step decided" if size == 1 else f"What the steps decided, {size} at a time")
    width = max(len("step"), *(len(_name(group)) for group in groups))
    room = max(0, screen.width - width - 50)
    most = max(_tokens(group) for group in groups)
    header = f"  {'step':>{width}}  {'':{room}} {'tokens':>8} {'rows':>9} {'confidence':>11} {'final to':>9}"
    screen.line(screen.dim(header))
    for group in groups:
        known = [d.confidence for step in group for d in step.decisions if d.confidence is not None]
        mean = _number(sum(known) / len(known)) if known else ""
        bar = screen.bar(_tokens(group) / max(most, 1), room)
        rows = sum(step.rows for step in group)
        screen.line(
            f"  {_name(group):>{width}}  {bar} {_tokens(group):>8,} {rows:>9,} {mean:>11} {group[-1].final:>9,}"
        )
    if trace.num_sequences > 1:
        screen.line()
        screen.paragraph("Rows are those of the forward, all sequences together.", indent=2)


def _report(trace: Trace) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        "branch": trace.branch,
        "request": trace.request,
        "sequences": trace.num_sequences,
        "seed": trace.seed,
        "prompt": trace.prompt,
        "masks": trace.masks,
        "max_length": trace.max_length,
        "finish_reason": trace.finish_reason,
        "new_tokens": trace.new_tokens,
        "truncated": trace.truncated,
        "revisions": trace.revisions,
        "positions": [
            {
                "position": position,
                "step": decisions[-1].step,
                "token": decisions[-1].token,
                "confidence": decisions[-1].confidence,
                "revised": decisions[-1].revises,
                "steps": [decision.step for decision in decisions],
            }
            for position, decisions in sorted(trace.decided.items())
        ],
        "steps": [
            {
                "step": step.index,
                "tokens": len(step.decisions),
                "rows": step.rows,
                "confidence": step.confidence,
                "final": step.final,
            }
            for step in trace.steps
        ],
    }


def _fitting(most: int) -> int:
    """A round number of positions that fits into a row."""
    return next((count for count in (40, 30, 25, 20, 16, 10, 8, 5) if count <= most), max(most, 1))


def _name(group: list[Step]) -> str:
    first, last = group[0].index, group[-1].index
    return str(first) if first == last else f"{first}-{last}"


def _tokens(group: list[Step]) -> int:
    return sum(len(step.decisions) for step in group)


def _number(value: float) -> str:
    return f"{value:.3f}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
