"""How one sequence is written: the objects that `decoding=` takes. Plain data; what they mean for a
model is said in `foresight.strategies`, one file each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "Autoregressive",
    "BlockDiffusion",
    "Decoding",
    "LatentAutoregressive",
    "MaskedDiffusion",
    "Speculative",
    "Strided",
]


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
class BlockDiffusion(Decoding):
    """Blocks of masks, finished from left to right, the masks of a block in any order; for models with
    block-causal attention. Blocks are the model's, aligned to position 0. Exact in every option: each is
    one of the published samplers' rules.

    None in a field stands for the family's own value (docs/block_diffusion.md); `out.decoding` has it.

    block_length: positions that are decided together, from left to right within the model's block, which
    it divides; None: the whole block, or 8 where rows are shifted (Fast-dLLM v2). The model's own blocks
    are stated when it is loaded.
    steps: forwards for block_length positions, at most; each decides its share, the remainder first.
    order: "sequential": from left to right. "static": those whose tokens are most probable. "dynamic": all
    with a probability above threshold if they are at least the share, else the share's best.
    "entropy_bound": the lowest entropies, while their sum without the largest is at most threshold, and at
    least the share. Probabilities are those of the drawn token after temperature, top-k and top-p; without
    sampling, those before any processor.
    edit_threshold: decided tokens of the open block are overwritten where another is proposed with a
    probability above it (LLaDA2.1); "off": never. max_post_steps: forwards of a block that only edit.
    min_transfer: masks decided per forward, at least, whatever steps says.
    reference_quirks: what the published samplers do, oddities included.
    """

    reference: ClassVar[str] = "the family's published sampler with the same options, nothing cached"

    block_length: int | None = None
    steps: int | None = None
    order: Literal["sequential", "static", "dynamic", "entropy_bound"] | None = None
    threshold: float | None = None
    edit_threshold: float | Literal["off"] | None = None
    max_post_steps: int | None = None
    min_transfer: int | None = None
    reference_quirks: bool = False


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


@dataclass(frozen=True)
class Strided(Decoding):
    """Introspective strided decoding (I-DLM, arXiv 2604.11035): the model drafts the next tokens from masks
    and tests them itself, in one forward; for causal models with a mask token (docs/strided.md).

    stride: the most tokens of a forward, 2 to 8; None: what the running acceptance of the sequence makes
    fastest, plain decoding included, and at most 4 unless nine drafts in ten are accepted. Exact.
    exact: drafts are drawn, and masks stand behind every draft, so that a rejection costs no forward; False:
    the published algorithm, whose drafts are always the most likely tokens. True has the law of
    fs.Autoregressive, and greedily its tokens; False has them greedily, and is approximate when it samples.
    """

    reference: ClassVar[str] = "token by token from the model's own distribution"

    stride: int | None = None
    exact: bool = True


@dataclass(frozen=True)
class Speculative(Decoding):
    """Speculative decoding: a drafter guesses the next tokens, one forward of the model tests them all
    (docs/speculative.md); for causal models. Any number of sequences, each with guesses of its own.

    drafter: fs.PromptLookup(), fs.SuffixTree(), a smaller fs.LM, fs.EarlyExit(layer), fs.DraftHead(path),
    fs.SyntheticDrafter(acceptance) or a subclass of fs.Drafter. Exact, whatever it guesses.
    num_draft_tokens: guesses in a row, at most (1 to 64).
    verification: "block": guesses that were drawn are tested together (arXiv 2403.10444), which accepts at
    least as many as "token", one by one (arXiv 2211.17192); both have the law of fs.Autoregressive.
    "match": a guess is right if it is the token that plain decoding draws: the same tokens as without a
    drafter for the same seed. All three are exact, and the same for guesses that were not drawn (lookups,
    trees, greedy decoding), where they write plain decoding's very tokens. "typical": a guess is accepted
    if the model finds it likely enough (arXiv 2401.10774). Approximate.
    adaptive: each sequence has fewer guesses, or none, where its running acceptance does not pay for more.
    Exact. With a seed it goes by a stored table of costs, so that runs repeat; else by lm.cost_curve().
    tree: None: a chain; (width, depth): at every depth the `width` likeliest guesses, 64 in all at most;
    "dynamic": the num_draft_tokens likeliest paths' guesses of a tree 10 wide and 7 deep (arXiv 2406.16858). Exact.
    """

    reference: ClassVar[str] = "token by token from the model's own distribution"

    drafter: Any
    num_draft_tokens: int = 4
    verification: Literal["block", "token", "match", "typical"] = "block"
    adaptive: bool = True
    tree: tuple[int, int] | Literal["dynamic"] | None = None
