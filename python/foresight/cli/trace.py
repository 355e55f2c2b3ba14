"""`foresight trace`: what a file written by `generate(..., trace=path)` tells; one file per command."""

from __future__ import annotations

import typer

from foresight.cli.trace_export import export
from foresight.cli.trace_show import show

trace = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
trace.command()(show)
trace.command()(export)


@trace.callback()
def _trace() -> None:
    """Look at what a run did, in the trace it wrote."""
