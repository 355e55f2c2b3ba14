"""`foresight trace`: what a file written by `generate(..., trace=path)` tells; one file per command."""

from __future__ import annotations

import typer

from foresight.cli.trace_show import show

trace = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)
trace.command()(show)


@trace.callback()
def _trace() -> None:
    """Look at what a run did, in a file that generate(..., trace=path) wrote."""
