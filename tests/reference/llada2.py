"""LLaDA2.0's and 2.1's samplers: threshold in blocks of absolute positions; 2.1 also rewrites decided tokens.

Source: arXiv 2602.08676; generate() of the model code, as mirrored in dllm's llada2 and llada21 samplers. The network
is block-causal and not shifted. Every published forward reads the whole prefix anew, and so do these.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .network import Network
from .record import Run
from .rules import best, canvas, even_shares, probability_of, processed, without


def generate_2_0(
    network: Network,
    prompt: Tensor,
    *,
    mask_id: int,
    eos_id: int | None = None,
    gen_length: int = 2048,
    block_length: int = 32,
    steps: int = 32,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    threshold: float = 0.95,
    minimal_topk: int = 1,
    eos_early_stop: bool = False,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [1, P] -> ids [1, at most P + gen_length], cut after the first eos.

    Each block takes up to min(steps, gen_length // minimal_topk) forwards, over which block_length is spread evenly: a
    step writes all tokens more probable than the threshold if they are as many as it owes, else its share of the best.
    """
    steps = min(steps, gen_length // minimal_topk)
    length = prompt.shape[1]
    run, end = _start(prompt, gen_length, block_length, mask_id)
    for low in range(length // block_length * block_length, end, block_length):
        for owed in even_shares(block_length, steps):
            if not (run.ids[0, low : low + block_length] == mask_id).any():
                break
            run.forward(low + block_length)
            tokens, confidence = _propose(
                network, run.ids[:, : low + block_length], mask_id, temperature, top_k, top_p, generator
            )
            masked = run.ids[0, : low + block_length] == mask_id
            run.write(0, _unmask(confidence, masked, threshold, owed), tokens, confidence)
        if eos_early_stop and eos_id in run.ids[0, length : low + block_length]:
            break
    return _cut(run, length, gen_length, eos_id)


def generate_2_1(
    network: Network,
    prompt: Tensor,
    *,
    mask_id: int,
    eos_id: int | None = None,
    gen_length: int = 2048,
    block_length: int = 32,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    threshold: float = 0.95,
    editing_threshold: float | None = 0.9,
    max_post_steps: int = 16,
    num_to_transfer: int = 1,
    eos_early_stop: bool = False,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [1, P] -> ids [1, at most P + gen_length], cut after the first eos.

    A forward writes masked positions by threshold (at least num_to_transfer of them) and, masks left or not, any
    decided position of the block behind the prompt whose proposal differs and has a probability > editing_threshold.
    The block ends with a forward that found no mask and edited nothing, or after max_post_steps forwards without a
    mask. editing_threshold None switches editing off, and with it the closing forward; the published way to switch it
    off, a threshold of 1, keeps that forward. At temperature 0 top-k and top-p are not applied.
    """
    length = prompt.shape[1]
    run, end = _start(prompt, gen_length, block_length, mask_id)
    for low in range(length // block_length * block_length, end, block_length):
        high = low + block_length
        editable = torch.arange(high) >= max(low, length)
        post_steps = 0
        while True:
            masked = run.ids[0, :high] == mask_id
            post_steps += not masked.any()
            if post_steps > (0 if editing_threshold is None else max_post_steps):
                break
            run.forward(high)
            filters = (top_k, top_p) if temperature else (None, None)
            tokens, confidence = _propose(network, run.ids[:, :high], mask_id, temperature, *filters, generator)
            chosen = _unmask(confidence, masked, threshold, num_to_transfer)
            edits = editable & ~masked & (tokens != run.ids[0, :high])
            edits &= confidence > (torch.inf if editing_threshold is None else editing_threshold)
            run.write(0, [*chosen, *edits.nonzero()[:, 0]], tokens, confidence)
            if not masked.any() and not edits.any():
                break
        if eos_early_stop and eos_id in run.ids[0, length:high]:
            break
    return _cut(run, length, gen_length, eos_id)


def _start(prompt: Tensor, gen_length: int, block_length: int, mask_id: int) -> tuple[Run, int]:
    """A canvas that ends with a whole block, and its length."""
    end = -(-(prompt.shape[1] + gen_length) // block_length) * block_length
    return Run(canvas(prompt, end, mask_id)), end


def _propose(
    network: Network,
    ids: Tensor,
    mask_id: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Ids [1, L] -> tokens and their probabilities [L].

    The mask is never proposed: 2.1's loop would not end. At temperature 0 without filters its probability counts.
    """
    logits = network(ids)[0]
    tokens, distribution = processed(without(logits, mask_id), temperature, top_k, top_p, generator)
    if temperature == 0 and not top_k and top_p is None:
        distribution = logits.double().softmax(-1)
    return tokens, probability_of(distribution, tokens)


def _unmask(confidence: Tensor, masked: Tensor, threshold: float, owed: int) -> Tensor:
    """The masked positions above the threshold if they are at least `owed`, else the `owed` best of them."""
    passing = (masked & (confidence > threshold)).nonzero()[:, 0]
    if len(passing) >= owed:
        return passing
    return best(confidence.masked_fill(~masked, -torch.inf), min(owed, int(masked.sum())))


def _cut(run: Run, length: int, gen_length: int, eos_id: int | None) -> Run:
    new = run.ids[0, length : length + gen_length].tolist()
    run.ids = run.ids[:, : length + (new.index(eos_id) + 1 if eos_id in new else gen_length)]
    return run
