"""Batched sampling at temperature 1 from a training model, with a key/value cache; finished rows leave now and then."""

from __future__ import annotations

import torch
from qwen3 import Cache, Qwen3

COMPACT_BELOW = 0.8
"""Finished rows are dropped once fewer than this share of the rows are still going."""


@torch.no_grad()
def sample(model: Qwen3, prompts: list[list[int]], max_new: int, eos: int, greedy: bool = False) -> list[list[int]]:
    """Return the new tokens of every prompt, the eos included where one came within `max_new` tokens."""
    new: list[list[int]] = [[] for _ in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    cache = Cache(model.config, len(prompts), int(lengths.max()) + max_new)
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    hidden = model.hidden(ids, positions, cache)[torch.arange(len(prompts)), lengths - 1]
    owners = torch.arange(len(prompts))
    going = torch.ones(len(prompts), dtype=torch.bool)
    for _ in range(max_new):
        logits = model.logits(hidden)
        chosen = logits.argmax(-1) if greedy else torch.multinomial(logits.softmax(-1), 1)[:, 0]
        for owner, token, alive in zip(owners.tolist(), chosen.tolist(), going.tolist(), strict=True):
            if alive:
                new[owner].append(token)
        going &= chosen != eos
        if not going.any():
            break
        if going.float().mean() < COMPACT_BELOW:
            rows = going.nonzero()[:, 0]
            cache.keep(rows)
            owners, lengths, chosen, going = owners[rows], lengths[rows], chosen[rows], going[rows]
        hidden = model.hidden(chosen[:, None], lengths[:, None], cache)[:, 0]
        lengths = lengths + 1
    return new
