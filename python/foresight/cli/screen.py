"""Plain text that looks well on a terminal: emphasis where there is colour, bars, wrapped words."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap

import typer

_FULL = "\u2588"
_PARTS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_RULE = "\u2500"


class Screen:
    """Writes to stdout, or nowhere when `silent`.

    Emphasis and live updates need a terminal; without one the words stay the same.
    """

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self.live = not silent and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self.width = min(100, max(60, shutil.get_terminal_size().columns))
        self._blocks = _encodes(_FULL + _PARTS + _RULE)

    def line(self, text: str = "") -> None:
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Write without ending the line, and at once."""
        if not self.silent:
            typer.echo(text, nl=False, color=self.colour)

    def paragraph(self, text: str, indent: int = 0) -> None:
        """Write `text` wrapped to the screen."""
        space = " " * indent
        wrapped = textwrap.wrap(text, self.width - 2, initial_indent=space, subsequent_indent=space)
        self.line("\n".join(wrapped))

    def heading(self, text: str) -> None:
        self.line()
        self.line(self.bold(text))
        self.line(self.dim((_RULE if self._blocks else "-") * (self.width - 2)))

    def status(self, text: str) -> None:
        """Show what is going on right now, on a terminal only; the next status replaces it."""
        if self.live:
            self.write(f"\r\x1b[2K{self.dim(text[: self.width - 2])}")

    def clear_status(self) -> None:
        if self.live:
            self.write("\r\x1b[2K")

    def bold(self, text: str) -> str:
        return self._styled(text, "1")

    def dim(self, text: str) -> str:
        return self._styled(text, "2")

    def good(self, text: str) -> str:
        return self._styled(text, "32")

    def bad(self, text: str) -> str:
        return self._styled(text, "31")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def bar(self, share: float, width: int) -> str:
        """A bar of `width` columns of which `share` (0 to 1) is filled."""
        if not self._blocks:
            return ("#" * round(share * width)).ljust(width)
        eighths = round(min(1.0, max(0.0, share)) * width * 8)
        full, rest = divmod(eighths, 8)
        return (_FULL * full + (_PARTS[rest] if rest else "")).ljust(width)


def _encodes(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
