"""llama.cpp, through the C interface that llama-cpp-python wraps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import llama_cpp as lc
import numpy as np

from support.engine import Limits, Tokens, seconds_per_step

_UBATCH = 512  # llama.cpp's own default: rows of one forward


class LlamaCppEngine:
    """One model, and one context per number of sequences, so that each has a cache of its own size."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        self._silence = lc.llama_log_callback(lambda level, text, data: None)
        lc.llama_log_set(self._silence, None)
        lc.llama_backend_init()
        params = lc.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lc.llama_model_load_from_file(str(folder / "model.gguf").encode(), params)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {folder / 'model.gguf'}")
        self._vocab_size = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self._model))
        self._threads = threads
        self._limits = limits
        self._contexts: dict[int, lc.llama_context_p] = {}
        self._held: Tokens = []

    def prefill(self, tokens: Tokens) -> float:
        context = self._context(1)
        self._clear(context)
        self._held = []
        begin = time.perf_counter()
        self._feed(context, [(0, 0, tokens)])
        return time.perf_counter() - begin

    def decode(self, prompts: Sequence[Tokens], num_new: int) -> float:
        return seconds_per_step([self._decode(prompts, num_new)])

    def call(self, prompts: Sequence[Tokens], num_new: int) -> tuple[float, int]:
        """Seconds of the prompts and `num_new` tokens after each, and the forwards."""
        begin = time.perf_counter()
        return self._decode(prompts, num_new)[-1] - begin, num_new

    def _decode(self, prompts: Sequence[Tokens], num_new: int) -> list[float]:
        """When the tokens of each step were there."""
        context = self._context(len(prompts))
        self._clear(context)
        if len(prompts) == 1:
            self._held = []
        new = self._feed(context, [(i, 0, prompt) for i, prompt in enumerate(prompts)])
        times = [time.perf_counter()]
        for step in range(num_new - 1):
            new = self._feed(context, [(i, len(prompts[i]) + step, [token]) for i, token in enumerate(new)])
            times.append(time.perf_counter())
        return times

    def hold(self, tokens: Tokens) -> None:
        context = self._context(1)
        self._clear(context)
        self._feed(context, [(0, 0, tokens)])
        self._held = tokens

    def rows(self, tokens: Tokens) -> float:
        context = self._context(1)
        begin = time.perf_counter()
        self._feed(context, [(0, len(self._held), tokens)])
        seconds = time.perf_counter() - begin
        self._forget_new(context)
        return seconds

    def decode_held(self, num_new: int) -> float:
        context = self._context(1)
        token = self._held[-1]
        times = []
        for step in range(num_new):
            (token,) = self._feed(context, [(0, len(self._held) + step, [token])])
            times.append(time.perf_counter())
        self._forget_new(context)
        return seconds_per_step([times])

    def _forget_new(self, context: lc.llama_context_p) -> None:
        lc.llama_memory_seq_rm(lc.llama_get_memory(context), 0, len(self._held), -1)

    def _clear(self, context: lc.llama_context_p) -> None:
        lc.llama_memory_clear(lc.llama_get_memory(context), True)

    def _context(self, sequences: int) -> lc.llama_context_p:
        if sequences not in self._contexts:
            per_sequence = self._limits.context if sequences == 1 else self._limits.tokens_per_sequence
            per_sequence = (per_sequence + 255) // 256 * 256
            params = lc.llama_context_default_params()
            params.n_ctx = sequences * per_sequence
            params.n_batch = max(2048, sequences * per_sequence)
            params.n_ubatch = _UBATCH
            params.n_seq_max = sequences
            params.n_threads = self._threads
            params.n_threads_batch = self._threads
            params.no_perf = True
            context = lc.llama_init_from_model(self._model, params)
            if not context:
                raise RuntimeError("llama.cpp cannot make a context")
            self._contexts[sequences] = context
        return self._contexts[sequences]

    def _feed(self, context: lc.llama_context_p, parts: Sequence[tuple[int, int, Tokens]]) -> Tokens:
        """One decode call of (sequence, first position, tokens); the greedy token after each part."""
        batch = lc.llama_batch_init(sum(len(tokens) for _, _, tokens in parts), 0, 1)
        asked = []
        row = 0
        for sequence, position, tokens in parts:
            for i, token in enumerate(tokens):
                batch.token[row] = token
                batch.pos[row] = position + i
                batch.n_seq_id[row] = 1
                batch.seq_id[row][0] = sequence
                batch.logits[row] = i + 1 == len(tokens)
                row += 1
            asked.append(row - 1)
        batch.n_tokens = row
        status = lc.llama_decode(context, batch)
        lc.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        return [
            int(np.ctypeslib.as_array(lc.llama_get_logits_ith(context, row), (self._vocab_size,)).argmax())
            for row in asked
        ]
