"""Turns on a shared machine: whoever holds the lock measures."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def turn(lock: Path | None) -> Iterator[None]:
    """Holds the file's lock, so that measurements of several programs never overlap; None: nobody else measures."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    time.sleep(0.5)  # whoever waits comes before our own next turn
