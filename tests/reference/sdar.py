"""SDAR's block_diffusion_generate: blocks from left to right, each filled in several forwards, then stored once.

Source: arXiv 2510.06303; JetAstra/SDAR generate.py. Blocks lie at absolute positions, so the prompt's tail shares the
first generated block. The network is block-causal and not shifted; finished blocks are cached there, which is exact, so
here every forward reads the prefix anew and counts one block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .network import Network
from .record import Run
from .rules import best, canvas, even_shares, probability_of, processed, without

STRATEGIES = ("sequential", "low_confidence_static", "low_confidence_dynamic", "entropy_bounded")


def generate(
    network: Network,
    prompt: Tensor,
    *,
    mask_id: int,
    gen_length: int = 128,
    block_length: int = 8,
    denoising_steps: int = 8,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    strategy: str = "low_confidence_dynamic",
    threshold: float = 0.85,
    entropy_bound: float = 0.1,
    stop_ids: Sequence[int] = (),
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [1, P] -> ids [1, P + gen_length], cut after the first of stop_ids.

    A step owes k tokens, block_length spread evenly over the steps:
      sequential              the next k masks from the left
      low_confidence_static   the k masks whose tokens are likeliest
      low_confidence_dynamic  all masks whose tokens are more probable than threshold if k at least, else as static
      entropy_bounded         the masks of lowest entropy, at least k, while `within_entropy` allows (see there)
    Confidences are those of the distribution after temperature, top-k and top-p. Greedy is temperature 0 (where the
    published code divides by zero) or top_k 1.

    quirks, as published: the greedy confidence comes from the filtered distribution, so that it is 1 under top_k 1; a
    step takes its k even if fewer masks are left, and writes over decided tokens and the prompt's tail; the last block
    is stored, too; the result is the whole canvas, to the end of the last block, masks behind the stop included.
    Without: the greedy confidence comes from the plain softmax, in which the mask's probability counts.
    The mask is never proposed; the published loop would fail on a block that keeps one.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}, not one of {STRATEGIES}")
    length = prompt.shape[1]
    end = -(-(length + gen_length) // block_length) * block_length
    run = Run(canvas(prompt, end, mask_id))
    first = length // block_length * block_length
    if first:
        run.forward(first, "prefill")
    for low in range(first, end, block_length):
        high = low + block_length
        for owed in even_shares(block_length, denoising_steps):
            masked = run.ids[0, :high] == mask_id
            if not masked.any():
                break
            run.forward(block_length)
            logits = network(run.ids[:, :high])[0]
            tokens, distribution = processed(without(logits, mask_id), temperature, top_k, top_p, generator)
            greedy = temperature == 0 or top_k == 1
            confidence = probability_of(logits.double().softmax(-1) if greedy and not quirks else distribution, tokens)
            count = owed if quirks else min(owed, int(masked.sum()))
            order = best(confidence.masked_fill(~masked, -torch.inf)[low:], block_length) + low
            if strategy == "sequential":
                start = int(masked.nonzero()[0])
                chosen = torch.arange(start, min(start + count, high)) if quirks else masked.nonzero()[:count, 0]
            elif strategy == "low_confidence_dynamic":
                passing = masked & (confidence > threshold)
                chosen = passing.nonzero()[:, 0] if passing.sum() >= count else order[:count]
            elif strategy == "entropy_bounded":
                entropy = -torch.xlogy(distribution, distribution).sum(-1)
                order = best(-entropy.masked_fill(~masked, torch.inf)[low:], int(masked.sum())) + low
                chosen = order[: max(count, within_entropy(entropy[order], entropy_bound))]
            else:
                chosen = order[:count]
            run.write(0, chosen, tokens, confidence)
        stopped = any(stop in run.ids[0, length:high] for stop in stop_ids)
        if quirks or not (stopped or high == end):
            run.forward(block_length, "store")
        if stopped:
            break
    if not quirks:
        new = run.ids[0, length : length + gen_length].tolist()
        stops = [index for index, token in enumerate(new) if token in stop_ids]
        run.ids = run.ids[:, : length + (stops[0] + 1 if stops else gen_length)]
    return run


def within_entropy(entropies: Tensor, bound: float) -> int:
    """How many of the rising entropies [n] are taken: while the sum of those before it is at most the bound.

    The bound on the error of deciding tokens independently is their sum without the largest (arXiv 2505.24857). The
    published branch of SDAR cannot run: it takes the entropy of a single probability and an undefined index.
    """
    return int(((entropies.cumsum(0) - entropies) <= bound).sum())
