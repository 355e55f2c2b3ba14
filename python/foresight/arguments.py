"""The arguments of a call, one by one: what they mean for the model, or why they are refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from foresight._warn import warn_caller
from foresight.generation import Settings, token_ids
from foresight.generation_fields import ARGUMENTS
from foresight.inputs import Prompts

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = [
    "criterion_length",
    "eos_token_ids",
    "guidance_scale",
    "new_token_budgets",
    "num_logprobs",
    "pad_token_id",
    "refuse_unbuilt",
    "trace_path",
]

DEFAULT_NEW_TOKENS = 20


def refuse_unbuilt(constraint: Any, others: dict[str, Any]) -> None:
    """Raises NotImplementedError for arguments that are set and not built; takes them out of `others`."""
    if constraint is not None:
        raise NotImplementedError(f"constraint={constraint!r}: constrained decoding is not built")
    for name, reason in ARGUMENTS.items():
        value = others.pop(name, None)
        if value is not None and value is not False:
            raise NotImplementedError(f"{name}: {reason}")


def eos_token_ids(settings: Settings, config: ModelConfig) -> list[int]:
    """The tokens that end a sequence; the call's, or the checkpoint's."""
    stated = settings.from_caller("eos_token_id")
    return token_ids(settings["eos_token_id"] if stated else list(config.eos_token_ids))


def pad_token_id(settings: Settings, config: ModelConfig, eos: list[int]) -> int:
    """The padding token of arrays on the right; zero when neither it nor an eos exists."""
    stated = token_ids(settings["pad_token_id"]) if settings.from_caller("pad_token_id") else []
    known = [] if config.pad_token_id is None else [config.pad_token_id]
    pad = (*stated, *known, *eos, 0)[0]
    if pad >= config.vocab_size:
        raise ValueError(f"pad_token_id is {pad}; the vocabulary has ids 0 to {config.vocab_size - 1}")
    return pad


def guidance_scale(settings: Settings, negative_prompt_ids: Any) -> float:
    """The scale of classifier-free guidance; 1 is off."""
    scale = settings["guidance_scale"]
    scale = 1.0 if scale is None else float(scale)
    if negative_prompt_ids is not None and scale == 1.0:
        raise ValueError("negative_prompt_ids only act with guidance_scale, which is off (1)")
    return scale


def trace_path(trace: Any) -> str | None:
    """The file that the call's events go to."""
    if trace is None:
        return None
    path = os.fspath(trace) if isinstance(trace, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise TypeError(f"trace is {trace!r}, expected the path of a file to write")
    return path


def num_logprobs(settings: Settings) -> int | None:
    """How many of the best tokens are listed per new token; None: no log-probabilities at all."""
    wanted = settings["output_logprobs"]
    return None if wanted is None or wanted is False else 0 if wanted is True else int(wanted)


def criterion_length(stopping_criteria: Any, settings: Settings) -> int | None:
    """The length that a MaxLengthCriteria of transformers states; it stands for max_length there too."""
    items = stopping_criteria if isinstance(stopping_criteria, list) else [stopping_criteria]
    lengths = [item.max_length for item in items if type(item).__name__ == "MaxLengthCriteria"]
    if lengths and settings["max_new_tokens"] is None and settings["max_length"] is None:
        return int(min(lengths))
    return None


def new_token_budgets(
    settings: Settings,
    prompts: Prompts,
    context: int,
    *,
    fill: int | None,
    max_length: int | None,
    mask: int | None,
) -> list[int]:
    """New tokens at most, per prompt.

    context: the model's length. fill: the length to go to where none is stated; None: 20 new tokens.
    max_length: stands for the field of that name. mask: given to strategies that fill masks in place: a
    prompt that holds it gets no further tokens unless told.
    """
    budgets = _stated_budgets(settings, prompts, context, fill=fill, max_length=max_length, mask=mask)
    for i, (budget, tokens) in enumerate(zip(budgets, prompts.tokens, strict=True)):
        if budget == 0 and mask not in tokens:
            raise ValueError(f"max_new_tokens is 0 for prompt {i}, which holds no masks: there is nothing to write")
    return budgets


def _stated_budgets(
    settings: Settings, prompts: Prompts, context: int, *, fill: int | None, max_length: int | None, mask: int | None
) -> list[int]:
    stated = settings["max_new_tokens"]
    holds_masks = [mask is not None and mask in tokens for tokens in prompts.tokens]
    if any(holds_masks) and not settings.from_caller("max_new_tokens") and not settings.from_caller("max_length"):
        if not all(holds_masks):
            raise ValueError("some prompts hold masks and some do not: say how many tokens follow with max_new_tokens")
        return [0] * len(prompts)
    if stated is not None and not hasattr(stated, "__len__"):
        return [int(stated)] * len(prompts)
    if stated is not None:
        if len(stated) != len(prompts):
            raise ValueError(f"max_new_tokens lists {len(stated)} numbers for {len(prompts)} prompts")
        return [int(n) for n in stated]
    widths = [len(tokens) + prompts.padding(i) for i, tokens in enumerate(prompts.tokens)]
    limit = settings["max_length"] if max_length is None else max_length
    what = "the context" if limit is None else "max_length"
    if limit is None:
        limit = fill
    if limit is None:
        warn_caller(
            f"neither max_new_tokens nor max_length is set: {DEFAULT_NEW_TOKENS} new tokens at most; set max_new_tokens"
        )
        return [max(1, min(DEFAULT_NEW_TOKENS, context - width)) for width in widths]
    for i, width in enumerate(widths):
        if width >= limit:
            raise ValueError(f"prompt {i} has {width} tokens, but {what} is {limit}: nothing could follow")
    return [int(limit) - width for width in widths]
