"""A progress bar over finished sequences, for people who watch a terminal.

FORESIGHT_PROGRESS=0 switches it off, =1 on; else it shows when standard error is a terminal and a call
of several sequences takes more than a few seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar", "wants_progress"]

_DELAY_SECONDS = 3.0


def wants_progress(num_sequences: int) -> bool:
    """Whether a call of so many sequences shows a bar."""
    chosen = os.environ.get("FORESIGHT_PROGRESS", "")
    if chosen not in ("", "0", "1"):
        raise ValueError(f"FORESIGHT_PROGRESS is {chosen!r}, expected 0 or 1")
    return chosen == "1" or (not chosen and num_sequences > 1 and sys.stderr.isatty())


@contextmanager
def progress_bar(num_sequences: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of sequences that have just finished."""
    if not shown:
        yield lambda finished: None
        return
    from tqdm import tqdm

    forced = os.environ.get("FORESIGHT_PROGRESS") == "1"
    with tqdm(total=num_sequences, unit="seq", delay=0 if forced else _DELAY_SECONDS, leave=False) as bar:

        def update(finished: int) -> None:
            bar.update(finished)

        yield update
