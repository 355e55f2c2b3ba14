"""Dream's diffusion_generate: times fall linearly, the share of masks revealed follows them.

Source: arXiv 2508.15487; DreamLM/Dream generation_utils.py. The network is bidirectional; its logits are shifted here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .network import Network
from .record import Run
from .rules import best, canvas, keep_top_k, keep_top_p, multinomial, probability_of, shift, without

ALGORITHMS = ("origin", "maskgit_plus", "topk_margin", "entropy")


def shares(steps: int, eps: float = 1e-3) -> Iterator[float]:
    """The probability 1 - s/t with which each step reveals a mask; the last reveals all. float32, as published."""
    times = torch.linspace(1, eps, steps + 1)
    for step in range(steps - 1):
        yield float(1 - times[step + 1] / times[step])
    yield 1.0


def counts(masks: int, steps: int, eps: float = 1e-3) -> list[int]:
    """How many of `masks` each step reveals in one sequence: truncated, so often none."""
    revealed = []
    for share in shares(steps, eps):
        revealed.append(int(torch.tensor(float(masks)) * share))
        masks -= revealed[-1]
    return revealed


def propose(
    logits: Tensor,
    alg: str,
    temperature: float,
    top_p: float | None,
    top_k: int | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Logits [..., V] -> tokens and confidences [...], both from the distribution after temperature, top-p, top-k."""
    logits = logits.double() / (temperature or 1.0)
    probabilities = keep_top_k(keep_top_p(logits, top_p), top_k).softmax(-1)
    tokens = multinomial(probabilities, generator) if temperature > 0 else probabilities.argmax(-1)
    if alg == "topk_margin":
        first, second = probabilities.topk(2).values.unbind(-1)
        return tokens, first - second
    if alg == "entropy":
        return tokens, (probabilities * (probabilities + 1e-10).log()).sum(-1)
    return tokens, probability_of(probabilities, tokens)


def diffusion_generate(
    network: Network,
    prompt: Tensor,
    *,
    mask_id: int,
    max_new_tokens: int,
    attention_mask: Tensor | None = None,
    steps: int = 512,
    eps: float = 1e-3,
    alg: str = "origin",
    alg_temp: float | None = None,
    temperature: float = 0.0,
    top_p: float | None = None,
    top_k: int | None = None,
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [B, P], masks in it included -> canvas [B, P + max_new_tokens].

    alg: "origin" flips a coin per mask; "maskgit_plus", "topk_margin" and "entropy" reveal the masks with the highest
    probability, margin or negative entropy, or draw them from softmax(confidence / alg_temp).
    quirks, as published: the count comes from the batch's mean number of masks, a row with fewer masks than that puts
    masks over decided tokens, and the mask may be proposed. Without: each row has its own count, and the mask's logit
    is -inf before anything else.
    `Run.empty` counts the forwards that revealed nothing.
    """
    if alg not in ALGORITHMS:
        raise ValueError(f"alg is {alg!r}, not one of {ALGORITHMS}")
    length = prompt.shape[1] + max_new_tokens
    if attention_mask is not None:
        attention_mask = torch.cat([attention_mask, torch.ones(len(prompt), max_new_tokens, dtype=torch.long)], 1)
    run = Run(canvas(prompt, length, mask_id))
    x = run.ids
    for share in shares(steps, eps):
        run.forward(x.numel())
        logits = without(shift(network(x, attention_mask)), None if quirks else mask_id)
        tokens, confidence = propose(logits, alg, temperature, top_p, top_k, generator)
        masked = x == mask_id
        tokens = torch.where(masked, tokens, mask_id)
        if alg == "origin":
            coins = torch.rand(x.shape, generator=generator) < share
            for row in range(len(x)):
                run.write(row, (masked & coins)[row].nonzero()[:, 0], tokens[row], confidence[row])
            continue
        confidence = confidence.masked_fill(~masked, -torch.inf)
        remaining = masked.sum(1).float()
        wanted = (remaining.mean().expand(len(x)) if quirks else remaining) * share
        for row, count in enumerate(int(number) for number in wanted):
            if alg_temp:
                weights = (confidence[row] / alg_temp).softmax(-1)
                chosen = torch.multinomial(weights, count, generator=generator) if count else []
            else:
                chosen = best(confidence[row], count)
            run.write(row, chosen, tokens[row], confidence[row])
    return run
