"""Pieces that several samplers share. Probabilities are float64 here, whatever dtype the published code uses."""

from __future__ import annotations

import torch
from torch import Tensor


def canvas(prompt: Tensor, length: int, mask_id: int) -> Tensor:
    """Prompt [B, P] followed by masks, [B, length]."""
    masks = torch.full((len(prompt), length - prompt.shape[1]), mask_id)
    return torch.cat([prompt, masks], 1)


def even_shares(count: int, steps: int) -> list[int]:
    """`count` over `steps`, the remainder on the first steps."""
    share, rest = divmod(count, steps)
    return [share + (step < rest) for step in range(steps)]


def shift(logits: Tensor) -> Tensor:
    """Row p - 1 speaks for p; position 0 keeps its own row. [..., L, V] -> [..., L, V]."""
    return torch.cat([logits[..., :1, :], logits[..., :-1, :]], -2)


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of scores [n], best first; equal ones by position."""
    return scores.sort(descending=True, stable=True).indices[:count]


def probability_of(probabilities: Tensor, tokens: Tensor) -> Tensor:
    """Probabilities [..., V], tokens [...] -> [...]."""
    return probabilities.gather(-1, tokens[..., None])[..., 0]


def without(logits: Tensor, token: int | None) -> Tensor:
    """Logits [..., V] in which `token` is impossible; None: unchanged."""
    return logits if token is None else logits.index_fill(-1, torch.tensor([token]), -torch.inf)


def keep_top_k(logits: Tensor, k: int | None) -> Tensor:
    """The k highest of each row and what equals the last of them; None or 0: all."""
    if not k:
        return logits
    floor = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < floor, -torch.inf)


def keep_top_p(logits: Tensor, p: float | None) -> Tensor:
    """The fewest best tokens whose probabilities exceed p together; None or 1: all."""
    if p is None or p >= 1:
        return logits
    ordered, places = logits.sort(descending=True, stable=True)
    before = ordered.softmax(-1).cumsum(-1).roll(1, -1)
    before[..., 0] = 0
    return logits.masked_fill(torch.zeros_like(logits, dtype=torch.bool).scatter(-1, places, before > p), -torch.inf)


def multinomial(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """One token per row of probabilities [..., V]."""
    rows = probabilities.reshape(-1, probabilities.shape[-1])
    return torch.multinomial(rows, 1, generator=generator).view(probabilities.shape[:-1])


def gumbel_argmax(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """LLaDA's sampling: argmax of exp(logits) / (-log U)^T, in logarithms; T = 0 is the argmax."""
    logits = logits.double()
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape, dtype=torch.float64, generator=generator)
    return (logits - temperature * (-uniform.log()).log()).argmax(-1)


def processed(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Tokens [...] and the distribution [..., V] after temperature, top-k and top-p that they come from.

    T = 0: the argmax, from the distribution that the filters leave at temperature 1.
    """
    logits = logits.double() / (temperature or 1.0)
    probabilities = keep_top_p(keep_top_k(logits, top_k), top_p).softmax(-1)
    tokens = probabilities.argmax(-1) if temperature == 0 else multinomial(probabilities, generator)
    return tokens, probabilities
