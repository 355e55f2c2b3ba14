"""transformers' side of benchmarks/branches_wide.py: generate(num_return_sequences=...)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from support.engine import Limits, Tokens


class TransformersBrancher:
    """bfloat16, scaled dot product attention, a DynamicCache."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()

    def wide(self, prompt: Tokens, lengths: Sequence[int], seed: int) -> dict[str, Any]:
        """As many sequences as lengths, each so long."""
        wanted = torch.tensor(list(lengths))
        forwards = 0

        def reached(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            nonlocal forwards
            forwards += 1
            return ids.shape[1] - len(prompt) >= wanted

        torch.manual_seed(seed)
        ids = torch.tensor([prompt])
        begin = time.perf_counter()
        out = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_return_sequences=len(lengths),
            max_new_tokens=max(lengths),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            pad_token_id=0,
            eos_token_id=None,
            stopping_criteria=transformers.StoppingCriteriaList([reached]),
            return_dict_in_generate=True,
        )
        seconds = time.perf_counter() - begin
        return {
            "seconds": seconds,
            "tokens": int(wanted.sum()),
            "rows": len(lengths) * (len(prompt) + forwards - 1),
            "forwards": forwards,
            "peak_cache_bytes": cache_bytes(out.past_key_values),
        }

    @torch.inference_mode()
    def shared(self, prompt: Tokens, width: int, num_new: int) -> dict[str, Any]:
        """Steps of `width` sequences behind one prompt. generate would compute the prompt `width` times; here it is
        computed once and its cache repeated, and `prompt_seconds` is of the one.
        """
        cache = transformers.DynamicCache()
        begin = time.perf_counter()
        self._model(torch.tensor([prompt]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        prompt_seconds = time.perf_counter() - begin
        cache.batch_repeat_interleave(width)
        steps = []
        for token in range(num_new):
            begin = time.perf_counter()
            logits = self._model(torch.full((width, 1), token), past_key_values=cache, logits_to_keep=1).logits
            torch.multinomial(logits[:, -1].float().softmax(-1), 1)
            steps.append(time.perf_counter() - begin)
        return {
            "prompt_seconds": prompt_seconds,
            "seconds_per_step": statistics.median(steps),
            "cache_bytes": cache_bytes(cache),
        }

    def prompt_rows(self, prompt: Tokens, width: int) -> int:
        """Rows of the first forward of generate."""
        shapes: list[tuple[int, int]] = []

        def note(_: Any, arguments: tuple[Any, ...]) -> None:
            shapes.append(tuple(arguments[0].shape[:2]))

        hook = self._model.model.layers[0].register_forward_pre_hook(note)
        ids = torch.tensor([prompt])
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_return_sequences=width,
            max_new_tokens=1,
            do_sample=True,
            pad_token_id=0,
            eos_token_id=None,
        )
        hook.remove()
        return shapes[0][0] * shapes[0][1]


def cache_bytes(cache: Any) -> int:
    """Of all layers' keys and values."""
    return sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
