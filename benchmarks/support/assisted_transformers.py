"""transformers' generation with and without guesses: whole calls, timed and counted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.generation.candidate_generator import CandidateGenerator

from support.engine import Limits, Tokens, random_tokens
from support.engine_transformers import TransformersEngine

_TEXT_SEED = 300


class AssistedEngine(TransformersEngine):
    """Plain calls, prompt lookup, and guesses of a given acceptance that cost nothing to make."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        super().__init__(folder, threads, limits)
        self._rng = np.random.default_rng(0)
        self._forwards = 0
        self._model.register_forward_pre_hook(self._count)

    def call(self, prompt: Tokens, num_new: int) -> tuple[float, int]:
        """Seconds and forwards of a greedy call without guesses."""
        return self._call(prompt, num_new)

    def lookup(self, prompt: Tokens, num_new: int, num_guesses: int) -> tuple[float, int]:
        """The same with transformers' own prompt lookup."""
        return self._call(prompt, num_new, prompt_lookup_num_tokens=num_guesses)

    def synthetic(self, prompt: Tokens, num_new: int, num_guesses: int, rate: float) -> tuple[float, int]:
        """The same with guesses of which each is right with probability `rate` where those before it were.

        No model makes them, and all tests are transformers' own: its best case. The text is given, random, and a
        processor that writes one score makes the model choose it, so that rounding does not move the acceptance.
        """
        text = random_tokens(_TEXT_SEED, num_new + num_guesses + 1, self._model.config.vocab_size)
        guesses = _RightSoOften(text, len(prompt), num_guesses, rate, num_new, self._rng)
        self._model._get_candidate_generator = lambda *_, **__: guesses
        try:
            return self._call(
                prompt,
                num_new,
                # Any number: it only asks for assisted generation.
                prompt_lookup_num_tokens=num_guesses,
                logits_processor=transformers.LogitsProcessorList([_Follow(text, len(prompt))]),
            )
        finally:
            del self._model._get_candidate_generator

    def _count(self, *_: Any) -> None:
        self._forwards += 1

    def _call(self, prompt: Tokens, num_new: int, **options: Any) -> tuple[float, int]:
        ids = torch.tensor([prompt])
        self._forwards = 0
        begin = time.perf_counter()
        out = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=num_new,
            pad_token_id=0,
            eos_token_id=None,
            **options,
        )
        seconds = time.perf_counter() - begin
        if out.shape[1] - ids.shape[1] != num_new:
            raise RuntimeError(f"{out.shape[1] - ids.shape[1]} new tokens, expected {num_new}")
        return seconds, self._forwards


class _RightSoOften(CandidateGenerator):
    """The text's next tokens, each replaced by its neighbour in the vocabulary with probability 1 - rate."""

    def __init__(
        self, text: Tokens, prompt: int, num_guesses: int, rate: float, num_new: int, rng: np.random.Generator
    ) -> None:
        self._text = text
        self._prompt = prompt
        self._num_guesses = num_guesses
        self._rate = rate
        self._num_new = num_new
        self._rng = rng

    def get_candidates(self, input_ids: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        done = input_ids.shape[1] - self._prompt
        # As transformers' own drafters: no more than can still be used beside the model's own token.
        count = min(self._num_guesses, self._num_new - done - 1)
        wrong = self._rng.random(max(0, count)) >= self._rate
        guesses = [token ^ int(flip) for token, flip in zip(self._text[done:], wrong, strict=False)]
        return torch.cat((input_ids, torch.tensor([guesses], dtype=input_ids.dtype)), dim=1), None

    def update_candidate_strategy(self, input_ids: torch.Tensor, scores: torch.Tensor, num_matches: int) -> None:
        """The number of guesses is fixed."""


class _Follow(transformers.LogitsProcessor):
    """Makes the text's token the likeliest."""

    def __init__(self, text: Tokens, prompt: int) -> None:
        self._text = text
        self._prompt = prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self._text[input_ids.shape[1] - self._prompt]] = float("inf")
        return scores
