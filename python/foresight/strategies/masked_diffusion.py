"""fs.MaskedDiffusion: family defaults, what fits what, and the schedule of each prompt."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from foresight.decoding import MaskedDiffusion
from foresight.strategies.base import Batch, Strategy, able, check_count
from foresight.strategies.schedules import even_schedule, time_schedule

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["MaskedDiffusionStrategy"]

_BY_CONFIDENCE = ("confidence", "margin", "entropy")
_ORDERS = (*_BY_CONFIDENCE, "random", "independent", "left_to_right")
_CACHES = ("none", "prefix", "dual")
_EPSILON = 1e-3  # of Dream's times

# The paper's number of candidates for its adaptive policy.
_SEMI_CAUSAL_CANDIDATES = 8


class MaskedDiffusionStrategy(Strategy):
    """Needs a mask token, and full or semi-causal attention."""

    policy = "masked_diffusion"
    writes_canvas = True

    def __init__(self, decoding: MaskedDiffusion, config: ModelConfig) -> None:
        if config.mask_token_id is None or config.attention not in ("full", "semi_causal"):
            raise ValueError(f"fs.MaskedDiffusion needs a mask token and full or semi-causal attention; {able(config)}")
        _check_ranges(decoding)
        super().__init__(_with_defaults(decoding, config), config)
        _check_pairs(self.decoding, config)

    def options(self, batch: Batch, prompt: int) -> dict[str, Any]:
        d: MaskedDiffusion = self.decoding
        by_confidence = d.order in _BY_CONFIDENCE
        ids = list(batch.eos_token_ids)
        deferred = set(self._forbidden(batch))
        if d.defer_eos:
            # The published LLaDA code takes the first eos out of the noisy logits, which nobody reads any
            # more; without noise they are the very logits that confidences come from.
            misses_first = d.reference_quirks and batch.do_sample
            deferred.update(ids[1:] if misses_first else ids)
        if (d.forbid_eos or d.defer_eos) and not ids:
            raise ValueError("MaskedDiffusion: forbid_eos and defer_eos need an eos_token_id, and there is none")
        return {
            "schedule": self._schedule(batch, prompt),
            "block_length": d.block_length or 0,
            "fixed_steps": self._counts_steps,
            "order": "confidence" if by_confidence else d.order,
            "confidence": self._confidence(),
            "order_temperature": float(d.order_temperature or 0.0),
            "threshold": float(d.threshold or 0.0),
            "factor": float(d.factor or 0.0),
            "factor_quirk": d.reference_quirks,
            "steps": d.steps or max(1, batch.num_masks(prompt)),
            "epsilon": _EPSILON,
            "latent_tokens": -1 if d.latent_tokens == "all" else int(d.latent_tokens or 0),
            "candidates": d.candidates or 0,
            "cache": d.cache,
            "opens_with_first": d.reference_quirks and d.cache != "none" and _is_dream(self.config),
            "deferred": sorted(deferred),
        }

    def suppressed_tokens(self, batch: Batch) -> list[int]:
        """The mask is no answer; published samplers that count their steps take it for one."""
        assert self.config.mask_token_id is not None
        mask = [] if self._counts_steps else [self.config.mask_token_id]
        return [*mask, *self._forbidden(batch)]

    def resolved(self, batch: Batch) -> MaskedDiffusion:
        """steps is filled in where it is the same for all prompts."""
        d: MaskedDiffusion = self.decoding
        counts = {batch.num_masks(i) for i in range(len(batch.prompts))}
        return dataclasses.replace(d, steps=counts.pop()) if d.steps is None and len(counts) == 1 else d

    @property
    def approximations(self) -> tuple[str, ...]:
        d: MaskedDiffusion = self.decoding
        found = [] if d.cache == "none" else [f"cache={d.cache}"]
        found += [f"{name}={getattr(d, name)}" for name in ("threshold", "factor") if getattr(d, name) is not None]
        if d.latent_tokens != "all" and self.config.attention == "full":
            found.append(f"latent_tokens={d.latent_tokens}")
        return tuple(found)

    @property
    def _counts_steps(self) -> bool:
        """As published: so many steps for each block, whatever they decide."""
        d: MaskedDiffusion = self.decoding
        return d.reference_quirks and d.threshold is None and d.factor is None

    def _forbidden(self, batch: Batch) -> list[int]:
        """The published LLaDA code forbids the first eos alone."""
        ids = list(batch.eos_token_ids)
        return (ids[:1] if self.decoding.reference_quirks else ids) if self.decoding.forbid_eos else []

    def _confidence(self) -> str:
        """Dream's probability is taken after temperature and truncation, the others' before."""
        if self.decoding.order in ("margin", "entropy"):
            return str(self.decoding.order)
        return "probability" if _is_dream(self.config) else "raw_probability"

    def _schedule(self, batch: Batch, prompt: int) -> list[int]:
        d: MaskedDiffusion = self.decoding
        num_masks = batch.num_masks(prompt)
        if num_masks == 0:
            return []
        if d.reference_quirks and (d.threshold is not None or d.factor is not None):
            return [1] * num_masks  # the published rules write one token where nothing passes, whatever the steps
        if d.block_length is not None and not batch.is_infilling(prompt):
            return self._windowed_schedule(num_masks, d.block_length)
        if d.steps is None or d.order == "independent":
            return [1] * num_masks
        if _is_dream(self.config) and d.block_length is None:
            mean = sum(map(batch.num_masks, range(len(batch.prompts)))) / len(batch.prompts)
            return time_schedule(mean if d.reference_quirks else num_masks, d.steps, _EPSILON)
        return even_schedule(num_masks, d.steps)

    def _windowed_schedule(self, num_masks: int, block_length: int) -> list[int]:
        if num_masks % block_length:
            raise ValueError(
                f"MaskedDiffusion: block_length is {block_length}, which does not divide the {num_masks} new tokens"
            )
        num_windows = num_masks // block_length
        steps = num_masks if self.decoding.steps is None else self.decoding.steps
        if steps % num_windows:
            raise ValueError(
                f"MaskedDiffusion: steps is {steps}, which is not a multiple of the {num_windows} blocks of"
                f" {block_length} that {num_masks} new tokens make"
            )
        return even_schedule(block_length, steps // num_windows) * num_windows


def _is_dream(config: ModelConfig) -> bool:
    """Dream's rules go with Dream's reading, LLaDA's with the other, whatever the weights' layout."""
    return config.attention == "full" and config.shifted


def _check_ranges(d: MaskedDiffusion) -> None:
    for name in ("steps", "block_length", "candidates"):
        check_count(d, name, getattr(d, name))
    if d.latent_tokens != "all":
        check_count(d, "latent_tokens", d.latent_tokens, minimum=0)
    for name, value, known in (("order", d.order, (None, *_ORDERS)), ("cache", d.cache, _CACHES)):
        if value not in known:
            expected = ", ".join(repr(k) for k in known if k is not None)
            raise ValueError(f"MaskedDiffusion: {name} is {value!r}, expected one of {expected}")
    for name, maximum in (("threshold", 1.0), ("factor", None), ("order_temperature", None)):
        value = getattr(d, name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0.0
        good = good and (value > 0.0 or name == "order_temperature") and (maximum is None or value <= maximum)
        if value is not None and not good:
            bound = "above 0" if name != "order_temperature" else "of at least 0"
            raise ValueError(
                f"MaskedDiffusion: {name} is {value!r}, expected a number {bound}"
                + (f" and at most {maximum:g}" if maximum is not None else "")
            )


def _with_defaults(d: MaskedDiffusion, config: ModelConfig) -> MaskedDiffusion:
    order = d.order or ("entropy" if _is_dream(config) else "confidence")
    candidates = d.candidates
    if candidates is None and config.attention == "semi_causal" and order in _BY_CONFIDENCE:
        candidates = _SEMI_CAUSAL_CANDIDATES
    latents = "all" if d.latent_tokens is None else d.latent_tokens
    return dataclasses.replace(d, order=order, candidates=candidates, latent_tokens=latents)


def _check_pairs(d: MaskedDiffusion, config: ModelConfig) -> None:
    if d.threshold is not None and d.factor is not None:
        raise ValueError("MaskedDiffusion: threshold and factor are two rules for the same thing; set one")
    for name in ("threshold", "factor", "order_temperature", "candidates", "defer_eos"):
        if getattr(d, name) and d.order not in _BY_CONFIDENCE:
            raise ValueError(f"MaskedDiffusion: {name} compares confidences, which order={d.order!r} does not")
    if d.order == "independent" and d.block_length is not None:
        raise ValueError(
            "MaskedDiffusion: order='independent' decides the whole canvas at once; leave block_length out"
        )
    if d.cache != "none" and (config.attention != "full" or d.latent_tokens != "all"):
        raise ValueError(
            f"MaskedDiffusion: cache={d.cache!r} is for full attention with all masks in the forward"
            f" (here: {config.attention} attention, latent_tokens={d.latent_tokens!r})"
        )
    if d.latent_tokens != "all" and config.shifted:
        raise NotImplementedError(
            "MaskedDiffusion: latent_tokens with a shifted model: the row before a mask, which decides it, may be a"
            " mask that is left out"
        )
    if d.reference_quirks and config.attention != "full":
        raise ValueError("MaskedDiffusion: reference_quirks is for full attention; the semi-causal sampler has none")
