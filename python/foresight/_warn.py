"""Warnings that point at the caller's line."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_caller"]


def warn_caller(message: str) -> None:
    """Issues a UserWarning at the innermost frame outside of this package."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("foresight"):
        frame = frame.f_back
        level += 1
    warnings.warn(message, UserWarning, stacklevel=level)
