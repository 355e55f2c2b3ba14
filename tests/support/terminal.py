"""A stream that says it is a terminal, and remembers what was written piece by piece."""

from __future__ import annotations

import io


class Terminal(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)
