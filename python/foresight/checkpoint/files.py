"""Reading a small file whole, bounded: regular files only, never more bytes than the caller allows."""

from __future__ import annotations

import stat
from pathlib import Path

from foresight.errors import CheckpointError

__all__ = ["MEBIBYTE", "file_size", "read_bytes"]

MEBIBYTE = 1 << 20


def file_size(path: Path) -> int:
    """The size in bytes of a regular file (links are followed, as the hub's cache is made of them).

    Raises CheckpointError when the file is missing, unreadable or not a regular file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: is not a regular file")
    return status.st_size


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes` bytes.

    Raises CheckpointError when the file is missing, unreadable, not a regular file or larger.
    """
    size = file_size(path)
    if size > max_bytes:
        raise CheckpointError(f"{path}: holds {size} bytes, expected at most {max_bytes}")
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    if len(data) > max_bytes:
        raise CheckpointError(f"{path}: holds more than {max_bytes} bytes")
    return data
