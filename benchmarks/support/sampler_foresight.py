"""Foresight's side of benchmarks/diffusion.py."""

from __future__ import annotations

import time
from pathlib import Path

import foresight as fs
from support.diffusion_settings import Report, Setting
from support.engine import Limits, Tokens


class ForesightSampler:
    """lm.generate, one model per attention rule."""

    def __init__(self, folder: Path, threads: int, limits: Limits) -> None:
        self._folder, self._threads, self._limits = folder, threads, limits
        self._models: dict[tuple[str, int], fs.LM] = {}

    def sample(self, setting: Setting, prompt: Tokens, mask: int, dtype: str) -> Report:
        lm = self._model(setting, mask, dtype)
        fields = {"steps": setting.steps, "block_length": setting.block_length, **setting.decoding}
        kind = fs.MaskedDiffusion if setting.attention == "full" else fs.BlockDiffusion
        new = self._limits.tokens_per_sequence - len(prompt)
        begin = time.perf_counter()
        out = lm.generate(
            [prompt],
            max_new_tokens=new,
            do_sample=False,
            eos_token_id=None,
            decoding=kind(**fields),
            return_dict_in_generate=True,
        )
        seconds = time.perf_counter() - begin
        if out.stats.exact != setting.exact:
            raise RuntimeError(f"{setting.name}: exact is {out.stats.exact}, {out.stats.approximations}")
        return {
            "seconds": seconds,
            "model_seconds": None,
            "forwards": out.stats.forwards,
            "rows": out.stats.rows,
            "new_tokens": [int(token) for token in out.sequences[0][len(prompt) :]],
        }

    def _model(self, setting: Setting, mask: int, dtype: str) -> fs.LM:
        block = setting.block_length if setting.attention == "block_causal" else 0
        key = (setting.attention, block)
        if key not in self._models:
            config = {"attention": setting.attention, "mask_token_id": mask, "shifted": False}
            self._models[key] = fs.LM.from_pretrained(
                self._folder,
                dtype=dtype,
                num_threads=self._threads,
                kv_cache_bytes=1 << 30,
                config=config | ({"block_length": block} if block else {}),
            )
        return self._models[key]
