"""Semi-causal diffusion with latent tokens: masks that are computed, but not decided, are room to think in.

Source: arXiv 2602.03769 and its code release (difflm.py, generate_completions). Clean rows see all clean rows; the i-th
masked row sees all clean rows and the masked rows up to itself. So masks placed after those that may be decided change
nothing and can be left out ("trim"). Rows are permuted; every token keeps its own position. Not shifted.

All randomness of the order is in `permute(n)`, which returns a permutation of range(n). It is called once at the start
(the order of the masks), then once per step: over the masks that are not to be decided (uniform), over the candidates
(random), and, in every adaptive policy, over the masks left at the end of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .network import RankedNetwork
from .record import Run
from .rules import best, even_shares, probability_of, without

Permute = Callable[[int], Sequence[int]]

POLICIES = ("uniform", "random", "confidence", "margin", "entropy")


def generate(
    network: RankedNetwork,
    ids: Tensor,
    *,
    mask_id: int,
    permute: Permute,
    steps: int | None = None,
    num_latents: int = 0,
    policy: str = "confidence",
    candidates_min: int = 0,
    candidates_max: int = 0,
    trim: bool = True,
) -> Run:
    """Decodes the masks in ids [1, L], greedily; `steps` forwards (default: one per mask) share them evenly,
    and those without a share are not run.

    uniform: a step decides the next k masks of the random order, behind num_latents others drawn anew.
    Adaptive: the first num_latents masks of the order cannot be decided; of those behind, the first candidates_max (0:
    all) can, and the k surest are; candidates_min keeps that many candidates at the cost of latents. Then the remaining
    masks are permuted. num_latents is always limited to what k leaves. `Run.rows` counts what trimming leaves.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}, not one of {POLICIES}")
    run = Run(ids.clone())
    masked = (ids[0] == mask_id).nonzero()[:, 0].tolist()
    order = [masked[i] for i in permute(len(masked))]
    for owed in filter(None, even_shares(len(order), steps or max(1, len(order)))):
        latents = min(num_latents, len(order) - owed)
        if policy == "uniform":
            decided, others = order[:owed], order[owed:]
            others = [others[i] for i in permute(len(others))]
            rows, eligible = [*others[:latents], *decided, *others[latents:]], decided
        else:
            latents = max(0, min(latents, len(order) - candidates_min)) if candidates_min else latents
            rows, eligible = order, order[latents:][: candidates_max or None]
            if len(eligible) < owed:
                raise ValueError(f"a step owes {owed} tokens, but only {len(eligible)} masks may be decided")
        tokens, probabilities = _read(network, run, mask_id, rows[: latents + len(eligible)] if trim else rows)
        if policy == "uniform":
            chosen = eligible
        elif policy == "random":
            chosen = [eligible[i] for i in permute(len(eligible))][:owed]
        else:
            scores = _score(probabilities[eligible], policy)
            chosen = [eligible[i] for i in best(scores, owed)]
        run.write(0, chosen, tokens, probability_of(probabilities, tokens))
        order = [position for position in order if position not in chosen]
        if policy != "uniform":
            order = [order[i] for i in permute(len(order))]
    return run


def _read(network: RankedNetwork, run: Run, mask_id: int, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """One forward over all decided positions and the masked `rows` in that order.

    Returns tokens [L] and distributions [L, V] in the order of the canvas; only those of `rows` mean something. The
    mask is impossible in them.
    """
    clean = (run.ids[0] != mask_id).nonzero()[:, 0]
    positions = torch.cat([clean, torch.tensor(rows)])
    ranks = torch.cat([torch.zeros(len(clean), dtype=torch.long), torch.arange(1, len(rows) + 1)])
    run.forward(len(positions))
    logits = without(network.with_ranks(run.ids[:, positions], positions, ranks)[0], mask_id).double()
    probabilities = torch.zeros(run.ids.shape[1], logits.shape[-1], dtype=torch.float64)
    probabilities[positions] = logits.softmax(-1)
    return probabilities.argmax(-1), probabilities


def _score(probabilities: Tensor, policy: str) -> Tensor:
    """Distributions [n, V] -> [n], higher is surer."""
    if policy == "entropy":
        return torch.xlogy(probabilities, probabilities).sum(-1)
    first, second = probabilities.topk(2).values.unbind(-1)
    return first - second if policy == "margin" else first
