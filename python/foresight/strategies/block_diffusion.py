"""fs.BlockDiffusion: family defaults, what fits what, and what the core's policy is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foresight.decoding import BlockDiffusion
from foresight.strategies.base import Batch, Strategy, able, check_count

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["BlockDiffusionStrategy"]

_ORDERS = ("sequential", "static", "dynamic", "entropy_bound")
_ENTROPY_BOUND = 0.1
_MAX_POST_STEPS = 16


@dataclass(frozen=True)
class _Family:
    """What a family's published sampler does when nobody says."""

    threshold: float
    window: int | None = None  # None: the whole block


_SDAR = _Family(threshold=0.85)
_LLADA2 = _Family(threshold=0.95)
_FAST_DLLM = _Family(threshold=0.9, window=8)


class BlockDiffusionStrategy(Strategy):
    """Needs block-causal attention."""

    policy = "block_diffusion"
    writes_canvas = True

    def __init__(self, decoding: BlockDiffusion, config: ModelConfig) -> None:
        if config.attention != "block_causal" or config.block_length is None or config.mask_token_id is None:
            raise ValueError(f"fs.BlockDiffusion needs block-causal attention and a mask token; {able(config)}")
        self._block_length = config.block_length
        self._mask: int = config.mask_token_id
        _check_ranges(decoding)
        _check_pairs(decoding, config)
        super().__init__(_with_defaults(decoding, config, config.block_length), config)

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        d: BlockDiffusion = self.decoding
        if self.config.shifted and batch.prompts[prompt][:1] == [self._mask]:
            raise ValueError(
                f"prompt {prompt} begins with the mask token {self._mask}: the first position has no row before it,"
                " and in a shifted model that row decides"
            )
        editing = d.edit_threshold != "off"
        return {
            "block_length": self._block_length,
            "window": int(d.block_length or self._block_length),
            "steps": int(d.steps or self._block_length),
            "min_transfer": int(d.min_transfer or 1),
            "order": d.order,
            "confidence": self._confidence(batch.do_sample),
            "threshold": float(d.threshold or 0.0),
            "edit_threshold": float(d.edit_threshold or 0.0) if editing else -1.0,
            "max_post_steps": int(d.max_post_steps or 0),
            "overwrites": self._overwrites,
            "greedy_first": d.reference_quirks and self.config.shifted,
        }

    def suppressed_tokens(self, batch: Batch) -> list[int]:
        """A proposed mask would be decided for ever."""
        del batch
        return [self._mask]

    def check_guidance(self, batch: Batch, negative_prompts: Sequence[Sequence[int]]) -> None:
        reason = "blocks are aligned to position 0, so that those of both contexts must fall on each other"
        if not negative_prompts:
            raise NotImplementedError(
                f"guidance_scale with fs.BlockDiffusion needs negative_prompt_ids: {reason}, and a masked prompt would be"
                " finished blocks of masks, which no block model has seen"
            )
        if self._overwrites:
            raise NotImplementedError("guidance_scale with reference_quirks: no published sampler has both")
        for i, (prompt, negative) in enumerate(zip(batch.prompts, negative_prompts, strict=True)):
            if (len(prompt) - len(negative)) % self._block_length:
                raise NotImplementedError(
                    f"guidance_scale with fs.BlockDiffusion: prompt {i} has {len(prompt)} tokens and its negative prompt"
                    f" {len(negative)}; {reason}: their lengths may differ by whole blocks of {self._block_length} only"
                )

    @property
    def _overwrites(self) -> bool:
        """SDAR's published top k may reach beyond the masks that are left."""
        d: BlockDiffusion = self.decoding
        return d.reference_quirks and _is_sdar(self.config) and d.order in ("static", "dynamic")

    def _confidence(self, do_sample: bool) -> str:
        """Under the distribution that is drawn from; without drawing, before anything was filtered."""
        d: BlockDiffusion = self.decoding
        if d.order == "entropy_bound":
            return "entropy"
        if do_sample:
            return "probability"
        # SDAR's greedy decoding is top_k=1, and the one token that is left has probability 1.
        return "certain" if d.reference_quirks and _is_sdar(self.config) else "raw_probability"


def _is_llada2(config: ModelConfig) -> bool:
    return config.family.startswith("llada2")


def _is_sdar(config: ModelConfig) -> bool:
    """SDAR's rules go with SDAR's reading, Fast-dLLM v2's with the other, whatever the weights' layout."""
    return not config.shifted and not _is_llada2(config)


def _family(config: ModelConfig) -> _Family:
    if config.shifted:
        return _FAST_DLLM
    return _LLADA2 if _is_llada2(config) else _SDAR


def _check_ranges(d: BlockDiffusion) -> None:
    for name in ("block_length", "steps", "min_transfer"):
        check_count(d, name, getattr(d, name))
    check_count(d, "max_post_steps", d.max_post_steps, minimum=0)
    if d.order not in (None, *_ORDERS):
        raise ValueError(f"BlockDiffusion: order is {d.order!r}, expected one of {', '.join(map(repr, _ORDERS))}")
    _check_number(d, "threshold", d.threshold, None if d.order == "entropy_bound" else 1.0)
    if d.edit_threshold != "off":
        _check_number(d, "edit_threshold", d.edit_threshold, 1.0, " or 'off'")


def _check_number(d: BlockDiffusion, name: str, value: Any, maximum: float | None, other: str = "") -> None:
    if value is None:
        return
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0.0
    if not good or (maximum is not None and value > maximum):
        bound = "a number of at least 0" if maximum is None else f"a number from 0 to {maximum:g}"
        raise ValueError(f"BlockDiffusion: {name} is {value!r}, expected {bound}{other}")


def _check_pairs(d: BlockDiffusion, config: ModelConfig) -> None:
    assert config.block_length is not None
    if d.block_length is not None and config.block_length % d.block_length:
        raise ValueError(
            f"BlockDiffusion: block_length is {d.block_length}, which does not divide the model's blocks of"
            f" {config.block_length}; to read the model with other blocks, load it with"
            f' config={{"block_length": {d.block_length}}}'
        )
    if d.threshold is not None and d.order in ("sequential", "static"):
        raise ValueError(f"BlockDiffusion: order={d.order!r} compares nothing with a threshold; leave it out")
    if d.edit_threshold in (None, "off"):
        if d.max_post_steps is not None:
            raise ValueError("BlockDiffusion: max_post_steps bounds editing, which is off: set edit_threshold")
        return
    if d.order == "entropy_bound":
        raise ValueError("BlockDiffusion: edit_threshold is a probability, and order='entropy_bound' reads entropies")
    if config.shifted:
        raise ValueError(
            "BlockDiffusion: edit_threshold with a shifted model: the first token of a block is decided by the block"
            " before it, which is finished"
        )


def _with_defaults(d: BlockDiffusion, config: ModelConfig, block_length: int) -> BlockDiffusion:
    family = _family(config)
    window = d.block_length
    if window is None:
        whole = family.window is None or block_length % family.window
        window = block_length if whole else family.window
    order = d.order or "dynamic"
    threshold = d.threshold
    if threshold is None:
        threshold = {"dynamic": family.threshold, "entropy_bound": _ENTROPY_BOUND}.get(order)
    edit_threshold = "off" if d.edit_threshold is None else d.edit_threshold
    max_post_steps = d.max_post_steps
    if edit_threshold != "off" and max_post_steps is None:
        max_post_steps = _MAX_POST_STEPS
    return dataclasses.replace(
        d,
        block_length=window,
        steps=d.steps or window,
        order=order,
        threshold=threshold,
        edit_threshold=edit_threshold,
        max_post_steps=max_post_steps,
        min_transfer=d.min_transfer or 1,
    )
