"""The exceptions of Foresight that are not the built-in ones.

A caller's mistake raises ValueError, TypeError or NotImplementedError. Each class here derives from the built-in
exception that a caller would already handle.
"""

from __future__ import annotations

__all__ = ["CacheFullError", "CheckpointError", "InternalError"]


class CheckpointError(OSError):
    """A file is missing, broken or inconsistent; the text names the file, what was found and what was expected."""


class CacheFullError(MemoryError):
    """One single request can never fit into the key-value cache; raised before any work is done."""


class InternalError(RuntimeError):
    """An invariant of Foresight itself is broken; the text holds the source file and line."""
