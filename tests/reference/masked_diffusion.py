"""Published samplers of masked diffusion models in plain PyTorch, for one sequence at temperature 0.

A network maps ids [1, L] to logits [1, L, V], the row at position p speaking for p, or for p + 1 with `shifted`.
Written from descriptions of the code: LLaDA's generate.py, Dream's diffusion_generate, Fast-dLLM's thresholds, factors
and caches, and the semi-causal sampler with latent tokens (arXiv 2502.09992, 2508.15487, 2505.22618, 2602.03769).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def canvas(prompt: Sequence[int], new: int, mask: int) -> Tensor:
    return torch.tensor([[*prompt, *[mask] * new]])


def _proposals(logits: Tensor, mask: int | None) -> tuple[Tensor, Tensor]:
    """Proposed tokens [L] and their probabilities [L]; the mask itself is not proposed unless `mask` is None."""
    probabilities = logits.double().softmax(-1)
    allowed = logits.clone()
    if mask is not None:
        allowed[:, mask] = -torch.inf
    tokens = allowed.argmax(-1)
    return tokens, probabilities.gather(-1, tokens[:, None])[:, 0]


def llada(
    network: Network,
    prompt: Sequence[int],
    *,
    steps: int,
    gen_length: int,
    block_length: int,
    mask: int,
    proposes_mask: bool = True,
    cfg_scale: float = 0.0,
) -> list[int]:
    """generate(): low-confidence remasking, block by block; every block takes its share of the steps."""
    x = canvas(prompt, gen_length, mask)
    start, num_blocks = len(prompt), gen_length // block_length
    for block in range(num_blocks):
        low, high = start + block * block_length, start + (block + 1) * block_length
        share, rest = divmod(int((x[0, low:high] == mask).sum()), steps // num_blocks)
        for step in range(steps // num_blocks):
            logits = network(x)[0]
            if cfg_scale:
                without = x.clone()
                without[0, :start] = mask
                other = network(without)[0]
                logits = other + (cfg_scale + 1) * (logits - other)
            tokens, confidence = _proposals(logits, None if proposes_mask else mask)
            confidence[x[0] != mask] = -torch.inf
            confidence[high:] = -torch.inf
            chosen = confidence.topk(share + (step < rest)).indices
            x[0, chosen] = tokens[chosen]
    return x[0].tolist()


def dream(
    network: Network, prompt: Sequence[int], *, steps: int, new: int, mask: int, order: str, epsilon: float = 1e-3
) -> tuple[list[int], int]:
    """diffusion_generate with a shifted network; also how many forwards revealed nothing."""
    x = canvas(prompt, new, mask)
    times = torch.linspace(1, epsilon, steps + 1)
    empty = 0
    for step in range(steps):
        logits = network(x)[0]
        logits = torch.cat([logits[:1], logits[:-1]])
        logits[:, mask] = -torch.inf
        probabilities = logits.double().softmax(-1)
        masked = x[0] == mask
        share = 1 - times[step + 1] / times[step]
        count = int(masked.sum() * share) if step < steps - 1 else int(masked.sum())
        empty += count == 0
        best = probabilities.sort(-1, descending=True).values
        confidence = {
            "confidence": best[:, 0],
            "margin": best[:, 0] - best[:, 1],
            "entropy": (probabilities * (probabilities + 1e-30).log()).sum(-1),
        }[order]
        confidence = torch.where(masked, confidence, -torch.inf)
        chosen = confidence.topk(count).indices
        x[0, chosen] = logits.argmax(-1)[chosen]
    return x[0].tolist(), empty


def count_by_rule(ordered: Tensor, threshold: float | None, factor: float | None) -> int:
    """How many of the confidences, best first, Fast-dLLM commits."""
    count = 1
    while count < len(ordered):
        bound = threshold if threshold is not None else 1 - float(factor or 0) / (count + 2)
        if ordered[count] < bound:
            break
        count += 1
    return count


def fast_dllm(
    network: Network,
    prompt: Sequence[int],
    *,
    new: int,
    block_length: int,
    mask: int,
    threshold: float | None = None,
    factor: float | None = None,
) -> list[int]:
    """Fast-dLLM for LLaDA without a cache: each forward commits what passes, and always the best."""
    x = canvas(prompt, new, mask)
    for low in range(len(prompt), len(prompt) + new, block_length):
        while bool((x[0, low : low + block_length] == mask).any()):
            tokens, confidence = _proposals(network(x)[0], mask)
            window = torch.zeros_like(confidence, dtype=torch.bool)
            window[low : low + block_length] = True
            confidence = torch.where(window & (x[0] == mask), confidence, -torch.inf)
            count = int((confidence > -torch.inf).sum())
            ordered, places = confidence.sort(descending=True)
            chosen = places[: count_by_rule(ordered[:count], threshold, factor)]
            x[0, chosen] = tokens[chosen]
    return x[0].tolist()
