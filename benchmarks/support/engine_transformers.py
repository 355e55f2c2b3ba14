"""transformers: bfloat16, scaled dot product attention, a DynamicCache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from support.engine import Limits, Tokens, seconds_per_step


class TransformersEngine:
    """model.generate for decoding, plain forwards for contexts."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()
        self._cache = transformers.DynamicCache()
        self._last_token = 0

    def prefill(self, tokens: Tokens) -> float:
        return self._forward(tokens, transformers.DynamicCache())

    def decode(self, prompts: Sequence[Tokens], num_new: int) -> float:
        return self._generate(torch.tensor(list(prompts)), num_new)

    def hold(self, tokens: Tokens) -> None:
        self._cache = transformers.DynamicCache()
        self._last_token = tokens[-1]
        self._forward(tokens, self._cache)

    def rows(self, tokens: Tokens) -> float:
        seconds = self._forward(tokens, self._cache)
        self._cache.crop(-len(tokens))
        return seconds

    def decode_held(self, num_new: int) -> float:
        times = []
        token = self._last_token
        for _ in range(num_new):
            token = self._next_token(token)
            times.append(time.perf_counter())
        self._cache.crop(-num_new)
        return seconds_per_step([times])

    @torch.inference_mode()
    def _next_token(self, token: int) -> int:
        out = self._model(torch.tensor([[token]]), past_key_values=self._cache, logits_to_keep=1)
        return int(out.logits[0, -1].argmax())

    @torch.inference_mode()
    def _forward(self, tokens: Tokens, cache: Any) -> float:
        begin = time.perf_counter()
        self._model(torch.tensor([tokens]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return time.perf_counter() - begin

    def _generate(self, ids: torch.Tensor, num_new: int) -> float:
        times: list[float] = []

        def clock(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            times.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=num_new,
            pad_token_id=0,
            eos_token_id=None,
            stopping_criteria=transformers.StoppingCriteriaList([clock]),
        )
        return seconds_per_step([times])
