"""The interface behind which engines are measured. Every method does the work and returns seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

Tokens = list[int]


@dataclass(frozen=True)
class Limits:
    """What an engine must have room for."""

    batch: int
    tokens_per_sequence: int  # prompt and new tokens of a sequence in a batch
    context: int  # tokens of the longest single sequence


class Engine(Protocol):
    """A loaded model. Loading is the constructor; weights may still be read lazily afterwards."""

    def prefill(self, tokens: Tokens) -> float:
        """Seconds from the tokens to the logits after the last one."""
        ...

    def decode(self, prompts: Sequence[Tokens], num_new: int) -> float:
        """Seconds per greedy step in which every prompt gets one token."""
        ...

    def hold(self, tokens: Tokens) -> None:
        """Caches a context for `rows` and `decode_held`, in place of the one before."""
        ...

    def rows(self, tokens: Tokens) -> float:
        """Seconds of one forward of these tokens after the held context, to the last one's logits."""
        ...

    def decode_held(self, num_new: int) -> float:
        """Seconds per greedy token after the held context."""
        ...


class EngineMaker(Protocol):
    """An engine's class."""

    def __call__(self, folder: Path, threads: int, limits: Limits) -> Engine: ...


def random_tokens(seed: int, count: int, vocab_size: int) -> Tokens:
    """The same tokens for every engine."""
    return [int(token) for token in np.random.default_rng(seed).integers(0, vocab_size, count)]


def seconds_per_step(arrivals: Sequence[Sequence[float]]) -> float:
    """From the times at which each sequence's tokens came: seconds per step while all were decoding."""
    begin = max(times[0] for times in arrivals)
    end = min(times[-1] for times in arrivals)
    if end <= begin:
        raise ValueError("the sequences never decoded all at once: more new tokens are needed")
    # Tokens of one step are handed out one after the other: the margin, far below a step and far
    # above that, keeps those of the first step out and those of the last one in.
    margin = (end - begin) / (4 * max(len(times) for times in arrivals))
    counted = sum(begin + margin < at <= end + margin for times in arrivals for at in times)
    return (end - begin) * len(arrivals) / counted
