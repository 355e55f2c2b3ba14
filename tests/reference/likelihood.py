"""Log-likelihoods of a continuation: LLaDA's Monte-Carlo bound, its exact value, block by block, and the chain rule.

Source: arXiv 2502.09992 and ML-GSAI/LLaDA eval_llada.py (get_log_likelihood); block by block as in arXiv 2503.09573.
The bound of a continuation of n tokens is the mean over k ~ U{1..n} and over sets of k masked tokens of
(n / k) * sum of the log-probabilities of the masked ones, given all others; so a set S weighs 1 / (|S| * C(n, |S|)).

ids: prompt and continuation [L]. start: where the continuation begins. All sums are float64.
"""

from __future__ import annotations

import itertools
from math import comb

import torch
from torch import Tensor

from .network import Network
from .rules import shift


def mask_counts(n: int, size: int, generator: torch.Generator | None = None, *, quirks: bool = True) -> Tensor:
    """Numbers of masked tokens in 1..n for a batch of `size`, spread evenly around the circle from a random start.

    quirks, as published: the start is an integer and places between are rounded half to even, which favours even counts
    when n / size is not whole. Without: the start is real, and every count is equally likely.
    """
    steps = torch.arange(size, dtype=torch.float64) * n / size
    if quirks:
        start = torch.randint(1, n + 1, (1,), generator=generator)
        return ((start + steps).round().long() - 1) % n + 1
    start = torch.rand(1, dtype=torch.float64, generator=generator) * n
    return (start + steps).floor().long() % n + 1


def monte_carlo(
    network: Network,
    ids: Tensor,
    start: int,
    *,
    mask_id: int,
    samples: int = 128,
    batch: int = 16,
    shifted: bool = False,
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[float, Tensor]:
    """The mean over `samples` draws in batches of `batch`, and the draws [samples]."""
    n = len(ids) - start
    draws = []
    for _ in range(0, samples, batch):
        counts = mask_counts(n, batch, generator, quirks=quirks)
        order = torch.rand(batch, n, generator=generator).argsort(-1).argsort(-1)
        masked = order < counts[:, None]
        sums = _masked_log_probabilities(network, ids, start, masked, mask_id, shifted).sum(-1)
        draws.append(sums * n / counts)
    values = torch.cat(draws)[:samples]
    return float(values.mean()), values


def exact(
    network: Network, ids: Tensor, start: int, *, mask_id: int, shifted: bool = False, end: int | None = None
) -> float:
    """The expectation of `monte_carlo` over every set of masks in ids [start, end), for up to some 12 tokens."""
    end = len(ids) if end is None else end
    n = end - start
    sets = torch.tensor(list(itertools.product([False, True], repeat=n))[1:])
    weights = torch.tensor([1 / (size * comb(n, size)) for size in sets.sum(1).tolist()], dtype=torch.float64)
    return float((_masked_log_probabilities(network, ids[:end], start, sets, mask_id, shifted).sum(-1) * weights).sum())


def blockwise_exact(
    network: Network, ids: Tensor, start: int, *, mask_id: int, block_length: int, shifted: bool = False
) -> float:
    """Chain rule over the blocks at absolute positions, each by `exact` given the clean blocks before it.

    A block ends where ids end: no masks are put behind them. The prompt's tail is clean in its block.
    """
    return sum(
        exact(network, ids, low, mask_id=mask_id, shifted=shifted, end=high)
        for low, high in block_spans(start, len(ids), block_length)
    )


def blockwise_monte_carlo(
    network: Network,
    ids: Tensor,
    start: int,
    *,
    mask_id: int,
    block_length: int,
    samples: int = 128,
    batch: int = 16,
    shifted: bool = False,
    generator: torch.Generator | None = None,
) -> float:
    """As `blockwise_exact`, each block by `monte_carlo` with `samples` draws."""
    options = {"mask_id": mask_id, "samples": samples, "batch": batch, "shifted": shifted, "quirks": False}
    return sum(
        monte_carlo(network, ids[:high], low, generator=generator, **options)[0]
        for low, high in block_spans(start, len(ids), block_length)
    )


def block_spans(start: int, end: int, block_length: int) -> list[tuple[int, int]]:
    """[start, end) cut at the multiples of block_length."""
    cuts = [start, *range((start // block_length + 1) * block_length, end, block_length), end]
    return list(itertools.pairwise(cuts))


def chain(network: Network, ids: Tensor, start: int) -> Tensor:
    """Log-probabilities [L - start] of a causal network: row p - 1 speaks for p, so start is at least 1."""
    logits = network(ids[None])[0, start - 1 : -1].double()
    return logits.log_softmax(-1).gather(-1, ids[start:, None])[:, 0]


def _masked_log_probabilities(
    network: Network, ids: Tensor, start: int, masked: Tensor, mask_id: int, shifted: bool
) -> Tensor:
    """Sets of masked tokens, bool [S, n] -> the log-probabilities of the true tokens there [S, n], 0 elsewhere."""
    rows = ids.repeat(len(masked), 1)
    rows[:, start:] = rows[:, start:].masked_fill(masked, mask_id)
    logits = network(rows).double()
    if shifted:
        logits = shift(logits)
    logarithms = logits.log_softmax(-1)[:, start:].gather(-1, ids[start:].expand(len(masked), -1)[..., None])[..., 0]
    return logarithms.masked_fill(~masked, 0.0)
