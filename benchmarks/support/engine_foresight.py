"""Foresight, through its public interface."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import foresight as fs
from support.engine import Limits, Tokens, seconds_per_step


class ForesightEngine:
    """lm.session for contexts, lm.stream for decoding."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        # Twice what fits exactly: pages are taken whole, and forks share the rest.
        slots = 2 * (limits.batch * limits.tokens_per_sequence + limits.context)
        self._lm = fs.LM.from_pretrained(folder, num_threads=threads, kv_cache_bytes=slots * slot_bytes(folder))
        self._held = self._lm.session()

    def prefill(self, tokens: Tokens) -> float:
        with self._lm.session() as session:
            begin = time.perf_counter()
            session.append(tokens)
            return time.perf_counter() - begin

    def decode(self, prompts: Sequence[Tokens], num_new: int) -> float:
        arrivals: list[list[float]] = [[] for _ in prompts]
        for event in self._lm.stream(list(prompts), max_new_tokens=num_new, do_sample=False):
            arrivals[event.index] += [time.perf_counter()] * len(event.tokens)
        return seconds_per_step(arrivals)

    def hold(self, tokens: Tokens) -> None:
        self._held.close()
        self._held = self._lm.session()
        self._held.append(tokens, logits="none")

    def rows(self, tokens: Tokens) -> float:
        (session,) = self._held.fork()
        with session:
            begin = time.perf_counter()
            session.append(tokens)
            return time.perf_counter() - begin

    def decode_held(self, num_new: int) -> float:
        class Clock:
            def __init__(self) -> None:
                self.times: list[float] = []

            def put(self, tokens: object) -> None:
                self.times.append(time.perf_counter())

            def end(self) -> None:
                pass

        clock = Clock()
        self._held.generate(max_new_tokens=num_new, do_sample=False, streamer=clock)
        return seconds_per_step([clock.times[1:]])  # the first put hands over the prompt


def slot_bytes(folder: Path) -> int:
    """Of one cached token of a bfloat16 checkpoint."""
    import json

    config = json.loads((folder / "config.json").read_text())
    return 4 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"]
