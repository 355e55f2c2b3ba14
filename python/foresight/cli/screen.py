"""Plain text that looks well on a terminal: emphasis where there is colour, bars, wrapped words."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
import unicodedata
from typing import TextIO

import typer

_FULL = "\u2588"
_PARTS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_RULE = "\u2500"
_SHADES = "\u2591\u2592\u2593\u2588"
_ASCII_SHADES = ".:+#"
# Backgrounds under black text, from unsure to sure: colours of the 256 that terminals share.
_TINTS = (103, 110, 116, 115, 114, 150, 228)
# Hues that colour-blind people tell apart too (Okabe and Ito), from the same 256.
_HUES = (32, 214, 36, 175, 227, 166)


class Screen:
    """Writes to `stream`, by default stdout, or nowhere when `silent`.

    Emphasis and live updates need a terminal; without one the words stay the same. width: of the text, at most
    100; columns, height: of the terminal.
    """

    def __init__(self, silent: bool = False, stream: TextIO | None = None) -> None:
        self.silent = silent
        self.stream = stream
        self.live = not silent and (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self.measure()
        self._blocks = bool(self.glyphs(_FULL + _PARTS + _RULE + _SHADES, ""))

    def measure(self) -> None:
        """Look how large the terminal is now."""
        fallback = (80, 24)  # where neither the environment nor stdout tells
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                fallback = os.get_terminal_size(self.stream.fileno())
        size = shutil.get_terminal_size(fallback)
        self.width = min(100, max(60, size.columns))
        self.columns, self.height = size.columns, size.lines

    def line(self, text: str = "") -> None:
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Write without ending the line, and at once."""
        if not self.silent:
            # Without colour a terminal still obeys what moves the cursor.
            typer.echo(text, file=self.stream, nl=False, color=self.live)

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

    def shade(self, share: float | None) -> str:
        """One character that is the fuller the larger `share` (0 to 1) is; blank where there is none."""
        if share is None:
            return " "
        return (_SHADES if self._blocks else _ASCII_SHADES)[_level(share, 4)]

    def tint(self, text: str, share: float | None) -> str:
        """`text` on a colour that stands for `share`."""
        return text if share is None else self._styled(text, f"30;48;5;{_TINTS[_level(share, len(_TINTS))]}")

    def hue(self, text: str, index: int | None, fill: bool = False) -> str:
        """`text` in the colour number `index`, or on it; as it is where there is no such colour."""
        if index is None or index >= len(_HUES):
            return self.dim(text)
        return self._styled(text, f"30;48;5;{_HUES[index]}" if fill else f"1;38;5;{_HUES[index]}")

    def glyphs(self, fancy: str, plain: str) -> str:
        """The first where the terminal's encoding has them all, else the second."""
        return fancy if _encodes(fancy, self.stream or sys.stdout) else plain

    def bar(self, share: float, width: int) -> str:
        """A bar of `width` columns of which `share` (0 to 1) is filled."""
        if not self._blocks:
            return ("#" * round(share * width)).ljust(width)
        eighths = round(min(1.0, max(0.0, share)) * width * 8)
        full, rest = divmod(eighths, 8)
        return (_FULL * full + (_PARTS[rest] if rest else "")).ljust(width)


def _level(share: float, count: int) -> int:
    return min(count - 1, max(0, int(share * count)))


def _encodes(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def short(text: str | None, room: int) -> str:
    """A text in one line of at most `room` columns, without what a terminal would obey; "" for None."""
    if text is None:
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * room + 100]).split())
    if columns_of(line) <= room and len(text) <= 10 * room + 100:
        return line
    dots = "..."[:room]
    while line and columns_of(line) > room - len(dots):
        line = line[:-1]
    return line + dots


def padded(text: str, room: int) -> str:
    """A text filled up with blanks to `room` columns."""
    return text + " " * (room - columns_of(text))


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
