"""How one sequence is written: the objects that `decoding=` takes. Plain data; what they mean for a
model is said in `foresight.strategies`, one file each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = ["Autoregressive", "Decoding", "LatentAutoregressive", "MaskedDiffusion"]


@dataclass(frozen=True)
class Decoding:
    """The base of all strategies.

    reference: the procedure whose tokens, or law, the strategy has when it is exact.
    """

    reference: ClassVar[str] = ""


@dataclass(frozen=True)
class Autoregressive(Decoding):
    """One token per forward, from left to right. Exact: it is the reference of the other strategies."""

    reference: ClassVar[str] = "token by token from the model's own distribution"


@dataclass(frozen=True)
class MaskedDiffusion(Decoding):
    """Masks of a canvas, decided in any order; for models with full or semi-causal attention.

    None in a field stands for the family's own value (docs/masked_diffusion.md); `out.decoding` has it.

    steps: forwards that decide something, at most; None: one per token. Exact.
    block_length: windows of that many positions after the prompt, decided one after another; None: one. Exact.
    order: which masks are decided first. "confidence": the probability of the proposed token; "margin":
    best minus second best probability; "entropy": low entropy first; "random"; "independent": each mask
    tosses its own coin (Dream's "origin"); "left_to_right". Exact.
    order_temperature: positions are drawn from softmax(confidence / it) instead of taking the best. Exact.
    threshold: decides every mask of the window with at least this confidence, and never fewer than the
    steps ask for (the best one without steps). Approximate: more than the schedule's share per forward (Fast-dLLM, arXiv 2505.22618).
    factor: decides the r-th best while its confidence is at least 1 - factor / (r + 1). Approximate (same source).
    latent_tokens: masks in the forward that cannot be decided in it; "all", or a number. Exact for
    semi-causal models (arXiv 2602.03769), approximate for full attention.
    candidates: how many masks can be decided in a forward; None: all of the window. Exact.
    cache: "none" (exact), "prefix" or "dual": keys and values of the forward that opened the window are
    kept for what lies before it, or all around it. Approximate (Fast-dLLM).
    forbid_eos: no eos at all. defer_eos: an eos is decided last. Exact.
    reference_quirks: what the published samplers do, oddities included.
    """

    reference: ClassVar[str] = "the family's published sampler with the same steps, order and windows"

    steps: int | None = None
    block_length: int | None = None
    order: Literal["confidence", "margin", "entropy", "random", "independent", "left_to_right"] | None = None
    threshold: float | None = None
    factor: float | None = None
    order_temperature: float | None = None
    latent_tokens: int | Literal["all"] | None = None
    candidates: int | None = None
    cache: Literal["none", "prefix", "dual"] = "none"
    forbid_eos: bool = False
    defer_eos: bool = False
    reference_quirks: bool = False


@dataclass(frozen=True)
class LatentAutoregressive(Decoding):
    """One token per forward, from left to right, with the next masks in the forward as latent tokens;
    for models trained to predict several tokens ahead from masks (arXiv 2602.03769). Exact.

    window: masks in the forward, the one that is decided included; the end of the sequence cuts it.
    """

    reference: ClassVar[str] = "token by token with `window` masks after the prefix, nothing cached"

    window: int
