"""The `foresight` command. One file per subcommand; nothing heavy is imported before one runs."""

from __future__ import annotations

from foresight.cli.app import main

__all__ = ["main"]
