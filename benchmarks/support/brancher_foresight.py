"""Foresight's side of benchmarks/branches_wide.py: branches of one prompt, through the public interface."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import foresight as fs
from support.engine import Limits, Tokens
from support.engine_foresight import slot_bytes


class _Lengths(fs.Controller):
    """A branch ends at its drawn length."""

    interval = 1

    def __init__(self, lengths: Sequence[int]) -> None:
        self.width = len(lengths)
        self.lengths = list(lengths)
        self.answer = no_answer

    def on_interval(self, view: Any) -> list[fs.Prune]:
        return [
            fs.Prune(branch.index)
            for branch in view.branches
            if branch.status == "running" and branch.num_tokens >= self.lengths[branch.index]
        ]


class _Clock(fs.Controller):
    """All branches run to their end; notes when each step was done."""

    interval = 1
    times: ClassVar[list[float]] = []

    def __init__(self, width: int) -> None:
        self.width = width
        self.answer = no_answer

    def on_interval(self, view: Any) -> None:
        self.times.append(time.perf_counter())


def no_answer(ids: Any) -> None:
    """Random weights answer nothing."""


class ForesightBrancher:
    """lm.generate with branches; lm.append for steps of given sessions."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        slots = limits.batch * limits.tokens_per_sequence + limits.context
        self._lm = fs.LM.from_pretrained(folder, num_threads=threads, kv_cache_bytes=slots * slot_bytes(folder))

    def wide(self, prompt: Tokens, lengths: Sequence[int], seed: int) -> dict[str, Any]:
        """As many branches as lengths, each so long."""
        begin = time.perf_counter()
        out = self._generate(prompt, _Lengths(lengths), max(lengths), seed)
        seconds = time.perf_counter() - begin
        assert out.branches is not None
        written = [len(branch.tokens) for branch in out.branches[0]]
        if written != list(lengths):
            raise RuntimeError(f"branches of {written} tokens, expected {lengths}")
        return {
            "seconds": seconds,
            "tokens": sum(written),
            "rows": out.stats.rows,
            "forwards": out.stats.forwards,
            "peak_cache_bytes": out.stats.peak_cache_bytes,
        }

    def shared(self, prompt: Tokens, width: int, num_new: int) -> dict[str, Any]:
        """`width` branches behind one prompt, num_new tokens each."""
        _Clock.times.clear()
        begin = time.perf_counter()
        out = self._generate(prompt, _Clock(width), num_new, seed=0)
        times = _Clock.times
        steps = [later - earlier for earlier, later in pairwise(times)]
        return {
            "seconds": time.perf_counter() - begin,
            "prompt_and_first_step_seconds": times[0] - begin,
            "seconds_per_step": statistics.median(steps),
            "rows": out.stats.rows,
            "forwards": out.stats.forwards,
            "peak_cache_bytes": out.stats.peak_cache_bytes,
        }

    def step(self, prompts: Sequence[Tokens], forks: int, repeats: int) -> float:
        """Seconds of a forward of one token behind each fork of each prompt."""
        sessions: list[fs.Session] = []
        for prompt in prompts:
            session = self._lm.session()
            session.append(prompt, logits="none")
            sessions += [session, *session.fork(forks - 1)] if forks > 1 else [session]
        seconds = []
        for token in range(repeats):
            begin = time.perf_counter()
            self._lm.append(sessions, [[token]] * len(sessions), logits="last")
            seconds.append(time.perf_counter() - begin)
        for session in sessions:
            session.close()
        return statistics.median(seconds)

    def _generate(self, prompt: Tokens, controller: fs.Controller, num_new: int, seed: int) -> Any:
        return self._lm.generate(
            [prompt],
            branches=controller,
            max_new_tokens=num_new,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            eos_token_id=None,
            seed=seed,
            return_dict_in_generate=True,
        )
