"""Fast-dLLM v1: commits by threshold or factor, and approximate caches, for LLaDA and for Dream.

Source: arXiv 2505.22618; NVlabs/Fast-dLLM llada/generate.py, dream/model/generation_utils{,_block}.py. The network is
bidirectional. A cache holds keys and values of the forward that opened a block: of all rows before it ("prefix"), or of
those behind it as well ("dual"); only the other rows are computed anew. Attention masks are ignored there, so a batch
holds prompts of equal length. The mask is never proposed: the published loops would not end.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .dream import propose, shares
from .llada import Options
from .network import CachedNetwork, KeysValues, Network
from .record import Run
from .rules import best, canvas, even_shares, shift, without


class Reader:
    """Forwards of a block [low, high): the opening one over the whole canvas, then those that the cache leaves."""

    def __init__(self, network: CachedNetwork, run: Run, low: int, high: int, cache: str) -> None:
        self.network, self.run, self.cache = network, run, cache
        self.low, self.high = low, high

    def open(self) -> Tensor:
        """Logits [B, L, V] of the whole canvas; what the cache keeps is kept."""
        x = self.run.ids
        self.run.forward(x.numel())
        if self.cache == "none":
            return self.network(x)
        everything = torch.arange(x.shape[1])
        sees = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
        logits, kept = self.network.with_cache(x, everything, sees)
        outside = everything < self.low
        if self.cache == "dual":
            outside |= everything >= self.high
        self.past: KeysValues = [(keys[:, :, outside], values[:, :, outside]) for keys, values in kept]
        return logits

    def read(self) -> Tensor:
        """Logits [B, rows, V] of the rows from `low` on, up to `high` at least."""
        x = self.run.ids
        if self.cache == "none":
            return self.open()[:, self.low :]
        rows = torch.arange(self.low, self.high if self.cache == "dual" else x.shape[1])
        self.run.forward(len(x) * len(rows))
        sees = torch.ones(len(rows), self.past[0][0].shape[2] + len(rows), dtype=torch.bool)
        return self.network.with_cache(x[:, rows], rows, sees, self.past)[0]


def count_passing(
    confidence: Tensor, threshold: float | None, factor: float | None, *, quirks: bool = True, share: int = 0
) -> int:
    """How many of the masks' confidences [n], best first, are committed; without a rule, the schedule's share.

    threshold: those >= it, and the first. factor: ranks r = 1, 2, ... while they are >= 1 - factor / (r + 1), and the
    first. quirks: if the last rank of all is the one that fails, it is committed, too; so are always both of two.
    """
    n = len(confidence)
    if threshold is not None:
        return min(n, max(1, int((confidence >= threshold).sum())))
    if factor is None:
        return min(n, share)
    failing = [rank for rank in range(2, n + 1) if confidence[rank - 1] < 1 - factor / (rank + 1)]
    if not failing or (quirks and failing[0] == n):
        return n
    return failing[0] - 1


def generate(
    network: Network | CachedNetwork,
    prompt: Tensor,
    *,
    mask_id: int,
    steps: int = 128,
    gen_length: int = 128,
    block_length: int = 32,
    threshold: float | None = None,
    factor: float | None = None,
    cache: str = "none",
    temperature: float = 0.0,
    remasking: str = "low_confidence",
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> Run:
    """For LLaDA: prompt [B, P] -> canvas [B, P + gen_length]. cache: "none", "prefix" or "dual".

    Without threshold and factor a block's masks are spread evenly over steps / blocks forwards. With one of them a
    block takes as many forwards as it needs, whatever `steps` says (the later revision's limit of steps / blocks passes
    with the dual cache, which can leave masks behind, is not followed).
    quirks, as published: with a cache at least one forward follows the opening one, even if the block is complete; and
    the factor rule's extra token.
    """
    length = prompt.shape[1]
    starts = range(length, length + gen_length, block_length)
    run = Run(canvas(prompt, length + gen_length, mask_id))
    options = Options(mask_id=mask_id, temperature=temperature, remasking=remasking, quirks=False, generator=generator)
    for low in starts:
        high = low + block_length
        reader = Reader(network, run, low, high, cache)
        planned = [even_shares(int(masks), steps // len(starts)) for masks in (run.ids[:, low:high] == mask_id).sum(1)]
        passes = 0
        while (run.ids[:, low:high] == mask_id).any() or (quirks and cache != "none" and passes == 1):
            logits = reader.read() if passes else reader.open()[:, low:]
            tokens, confidence = (F.pad(part, (low, 0)) for part in options.proposals(logits))
            for row, plan in enumerate(planned):
                masked = low + (run.ids[row, low:high] == mask_id).nonzero()[:, 0]
                order = masked[best(confidence[row, masked], len(masked))]
                share = plan[passes] if passes < len(plan) else 0
                count = count_passing(confidence[row, order], threshold, factor, quirks=quirks, share=share)
                run.write(row, order[:count], tokens[row], confidence[row])
            passes += 1
    return run


def generate_dream(
    network: CachedNetwork,
    prompt: Tensor,
    *,
    mask_id: int,
    max_new_tokens: int,
    block_length: int = 32,
    cache: str = "prefix",
    alg: str = "confidence_threshold",
    threshold: float = 0.9,
    steps: int = 512,
    eps: float = 1e-3,
    alg_temp: float | None = None,
    temperature: float = 0.0,
    top_p: float | None = None,
    top_k: int | None = None,
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> Run:
    """For Dream, block mode: prompt [1, P] -> canvas [1, P + max_new_tokens]. cache: "prefix" or "dual".

    alg "confidence_threshold" commits probabilities >= threshold, and the best. Any other ranks by negative entropy and
    counts by Dream's times over steps / blocks steps, of which the opening forward is the first.
    quirks, as published: the opening forward decides exactly the block's first position, however unsure, because later
    ones shift logits among their own rows, where that position has none; and at least one forward follows. Without: the
    opening forward follows the rule like any other, and the row before the block is computed anew with the block.
    """
    length = prompt.shape[1]
    run = Run(canvas(prompt, length + max_new_tokens, mask_id))
    starts = range(length, length + max_new_tokens, block_length)
    measure = "maskgit_plus" if alg == "confidence_threshold" else "entropy"
    for low in starts:
        high = low + block_length
        reader = Reader(network, run, low if quirks else low - 1, high, cache)
        planned = list(shares(steps // len(starts), eps))
        passes = 0
        while (run.ids[0, low:high] == mask_id).any() or (quirks and passes == 1):
            if passes:
                logits = (shift(reader.read()) if quirks else reader.read())[0, :block_length]
            else:
                logits = reader.open()[0, low - 1 : high - 1]
            proposals = propose(without(logits, mask_id), measure, temperature, top_p, top_k, generator)
            tokens, confidence = (F.pad(part, (low, 0)) for part in proposals)
            masked = low + (run.ids[0, low:high] == mask_id).nonzero()[:, 0]
            order = masked[best(confidence[masked], len(masked))]
            if alg == "confidence_threshold":
                chosen = order[: count_passing(confidence[order], threshold, None)]
            else:
                share = planned[passes] if passes < len(planned) else 1.0
                count = int(torch.tensor(float(len(masked))) * share)
                chosen = order[:count]
                if alg_temp and count:
                    weights = (confidence[masked] / alg_temp).softmax(-1)
                    chosen = masked[torch.multinomial(weights, count, generator=generator)]
            run.write(0, torch.tensor([low]) if quirks and not passes else chosen, tokens, confidence)
            passes += 1
    return run


def generate_dream_by_quota(
    network: Network,
    prompt: Tensor,
    *,
    mask_id: int,
    max_new_tokens: int,
    steps: int,
    threshold: float = 0.9,
    temperature: float = 0.0,
    top_p: float | None = None,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Run:
    """For Dream without blocks, alg "confidence_threshold": prompt [1, P] -> canvas [1, P + max_new_tokens].

    A step looks at its quota of the best masks, max_new_tokens / steps and what earlier steps left of theirs, and
    writes those >= threshold, and the best. So the threshold can only slow it down; steps are added until none is left.
    """
    run = Run(canvas(prompt, prompt.shape[1] + max_new_tokens, mask_id))
    masks = int((run.ids == mask_id).sum())
    if masks % steps:
        raise ValueError(f"{masks} masks are not a multiple of {steps} steps")
    quota = 0
    while (run.ids == mask_id).any():
        quota += masks // steps if run.forwards < steps else 0
        run.forward(run.ids.numel())
        logits = without(shift(network(run.ids))[0], mask_id)
        tokens, confidence = propose(logits, "maskgit_plus", temperature, top_p, top_k, generator)
        order = best(confidence.masked_fill(run.ids[0] != mask_id, -torch.inf), quota)
        count = count_passing(confidence[order], threshold, None)
        run.write(0, order[:count], tokens, confidence)
        quota -= count
    return run
