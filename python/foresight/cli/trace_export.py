"""`foresight trace export`: the branches of our trace in the format of the released Parallel-Probe traces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foresight.cli.options import CommandError, Debug
from foresight.recorded import read, write_released
from foresight.trace_branches import read_branches
from foresight.trace_events import is_controlled

_MOST_LINES_BYTES = 1 << 26


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What generate(..., branches=..., trace=FILE) wrote.")],
    released: Annotated[
        Path, typer.Option("--released", metavar="OUT.json", help="Write the released Parallel-Probe format here.")
    ],
    probe_freq: Annotated[
        int | None,
        typer.Option("--probe-freq", min=1, metavar="N", help="Tokens between probes; by default what the trace says."),
    ] = None,
    gold: Annotated[
        Path | None, typer.Option("--gold", metavar="FILE", help="The right answers, one on each line, in order.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", metavar="FILE", help="The questions, one on each line, in order.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the branches of a trace in the format that others' tools read."""
    if not is_controlled(file):
        raise CommandError(f"{file}: this is no trace of branches; generate(..., branches=..., trace=FILE) writes one")
    recording = read(file)
    interval = probe_freq or read_branches(file).probe_interval
    if interval is None and any(branch.probe_tokens for one in recording.questions for branch in one.branches):
        raise CommandError(f"{file}: the trace does not say how far apart its probes are; --probe-freq does")
    write_released(
        recording.questions,
        released,
        # Of branches without probes the format wants a number all the same.
        probe_freq=interval or max(branch.num_tokens for one in recording.questions for branch in one.branches) or 1,
        texts=None if questions is None else _lines(questions),
        gold=None if gold is None else _lines(gold),
    )
    count = sum(len(one.branches) for one in recording.questions)
    typer.echo(f"{released}: {len(recording.questions):,} questions with {count:,} branches", err=True)


def _lines(path: Path) -> list[str]:
    """The lines of a text file, without an empty one at its end."""
    with path.open("rb") as file:
        content = file.read(_MOST_LINES_BYTES + 1)
    if len(content) > _MOST_LINES_BYTES:
        raise CommandError(
            f"{path}: more than {_MOST_LINES_BYTES >> 20} MiB; expected one short line for each question"
        )
    try:
        return content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8: {error}") from error
