"""Plain PyTorch samplers around transformers' Qwen3: the loops of LLaDA's and SDAR's published generate().

As published, every forward computes the logits of all its rows, and LLaDA's confidence is a float64 softmax of them all.
Two things are unlike the published code, in its favour or indifferent: the mask is never proposed, and without a cache
SDAR's forwards end with the open block, because nothing before it sees what comes after.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from support.diffusion_settings import BLOCK_CACHE, Report, Setting
from support.engine import Limits, Tokens


class ReferenceSampler:
    """Greedy; probabilities are not sharpened."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        torch.set_num_threads(threads)
        # The name that works in every version that is supported.
        warnings.filterwarnings("ignore", ".*past_key_values.* is deprecated", FutureWarning)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._folder, self._length = folder, limits.tokens_per_sequence
        self._model: Any = None

    @torch.inference_mode()
    def sample(self, setting: Setting, prompt: Tokens, mask: int, dtype: str, reference: str) -> Report:
        if self._model is None:
            self._model = transformers.AutoModelForCausalLM.from_pretrained(
                self._folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
            ).eval()
        begin = time.perf_counter()
        blocks = setting.block_length if setting.attention == "block_causal" else 1
        canvas = torch.full((1, -(-self._length // blocks) * blocks), mask)  # the last block is decided as a whole
        canvas[0, : len(prompt)] = torch.tensor(prompt)
        forwards = _Forwards(self._model, mask, setting)
        if setting.attention == "full":
            _llada(forwards, canvas, len(prompt), setting)
        elif reference == BLOCK_CACHE:
            _sdar(_Cached(forwards, canvas, len(prompt), setting.block_length), canvas, len(prompt), setting)
        else:
            _sdar(forwards, canvas, len(prompt), setting)
        return {
            "seconds": time.perf_counter() - begin,
            "model_seconds": forwards.seconds,
            "forwards": forwards.count,
            "rows": forwards.rows,
            "new_tokens": canvas[0, len(prompt) : self._length].tolist(),
        }


class _Forwards:
    """The model under the setting's attention rule; counts, and times the forwards alone."""

    def __init__(self, model: Any, mask: int, setting: Setting) -> None:
        self._model, self._setting = model, setting
        self._rules: dict[int, Tensor] = {}
        self.mask = mask
        self.seconds, self.count, self.rows = 0.0, 0, 0

    def __call__(self, ids: Tensor, rule: Tensor, **rest: Any) -> Tensor:
        """Logits [1, rows, V]; rule [rows, keys] is true where a row sees a key."""
        begin = time.perf_counter()
        logits: Tensor = self._model(input_ids=ids, attention_mask=rule[None, None], **rest).logits
        self.seconds += time.perf_counter() - begin
        self.count += 1
        self.rows += ids.shape[1]
        return logits

    def whole(self, ids: Tensor) -> Tensor:
        """Logits of a canvas [1, L], nothing cached."""
        length = ids.shape[1]
        if length not in self._rules:
            blocks = torch.arange(length) // self._setting.block_length
            see_all = torch.ones(length, length, dtype=torch.bool)
            block_causal = blocks[None, :] <= blocks[:, None]
            self._rules[length] = see_all if self._setting.attention == "full" else block_causal
        return self(ids, self._rules[length], use_cache=False)

    def block(self, canvas: Tensor, low: int, high: int) -> Tensor:
        """Logits [high - low, V] of a block."""
        return self.whole(canvas[:, :high])[0, low:high]

    def store(self, canvas: Tensor, low: int, high: int) -> None:
        """Nothing is cached."""


class _Cached:
    """SDAR's cache: the prompt's blocks first, then every finished block in a forward of its own."""

    def __init__(self, forwards: _Forwards, canvas: Tensor, prompt: int, block: int) -> None:
        self._forwards = forwards
        self._cache = transformers.DynamicCache()
        self.mask = forwards.mask
        first = prompt // block * block
        if first:
            blocks = torch.arange(first) // block
            self._read(canvas, 0, first, blocks[None, :] <= blocks[:, None])

    def block(self, canvas: Tensor, low: int, high: int) -> Tensor:
        """Logits [high - low, V]; the block's own keys are dropped again."""
        logits = self._read(canvas, low, high, torch.ones(high - low, high, dtype=torch.bool))
        self._cache.crop(low - high)  # so many from the end
        return logits[0]

    def store(self, canvas: Tensor, low: int, high: int) -> None:
        """One forward more, whose keys stay."""
        self._read(canvas, low, high, torch.ones(high - low, high, dtype=torch.bool))

    def _read(self, canvas: Tensor, low: int, high: int, rule: Tensor) -> Tensor:
        positions = torch.arange(low, high)[None]
        return self._forwards(
            canvas[:, low:high], rule, position_ids=positions, past_key_values=self._cache, use_cache=True
        )


def _llada(forwards: _Forwards, canvas: Tensor, prompt: int, setting: Setting) -> None:
    """ML-GSAI/LLaDA generate.py: blocks of the canvas, an even share of the confident masks each step."""
    blocks = (canvas.shape[1] - prompt) // setting.block_length
    for block in range(blocks):
        high = prompt + (block + 1) * setting.block_length
        for share in _even_shares(setting.block_length, setting.steps // blocks):
            logits = forwards.whole(canvas)
            logits[..., forwards.mask] = -torch.inf
            tokens = logits.argmax(-1)
            probabilities = torch.softmax(logits.to(torch.float64), dim=-1)
            confidence = probabilities.gather(-1, tokens[..., None])[..., 0]
            confidence[:, high:] = -torch.inf
            confidence = torch.where(canvas == forwards.mask, confidence, -torch.inf)
            chosen = confidence[0].topk(share).indices
            canvas[0, chosen] = tokens[0, chosen]


def _sdar(network: _Forwards | _Cached, canvas: Tensor, prompt: int, setting: Setting) -> None:
    """JetAstra/SDAR generate.py, low_confidence_dynamic: all masks above the threshold, or the share's best."""
    length, threshold = setting.block_length, setting.decoding["threshold"]
    for low in range(prompt // length * length, canvas.shape[1], length):
        high = low + length
        for share in _even_shares(length, setting.steps):
            masked = canvas[0, low:high] == network.mask
            if not masked.any():
                break
            logits = network.block(canvas, low, high)
            logits[..., network.mask] = -torch.inf
            tokens = logits.argmax(-1)
            confidence = torch.softmax(logits, dim=-1).gather(-1, tokens[..., None])[..., 0]
            confidence = torch.where(masked, confidence, -torch.inf)
            passing = (confidence > threshold).nonzero()[:, 0]
            chosen = passing if len(passing) >= share else confidence.topk(min(share, int(masked.sum()))).indices
            canvas[0, low + chosen] = tokens[chosen]
        network.store(canvas, low, high)


def _even_shares(count: int, steps: int) -> list[int]:
    share, rest = divmod(count, steps)
    return [share + (step < rest) for step in range(steps)]
