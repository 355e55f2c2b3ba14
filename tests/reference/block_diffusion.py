"""The published loops of block diffusion in plain PyTorch: nothing cached, one sequence at temperature 0, the whole
prefix in each forward.

A network maps a list of ids to logits [length, V]. Written from descriptions of the code: SDAR's
block_diffusion_generate, generate of LLaDA2.0 and 2.1 and of Fast-dLLM v2 (arXiv 2510.06303, 2602.08676, 2509.26328).
Counts are limited to the masks that are left, but with `published=True`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Logits = Callable[[list[int]], Any]


class BlockNet:
    """A transformers model read with block-causal attention."""

    def __init__(self, model: Any, block_length: int) -> None:
        self.model = model
        self.block_length = block_length
        self.forwards = 0

    def __call__(self, tokens: list[int]) -> Any:
        self.forwards += 1
        length = len(tokens)
        block = torch.arange(length) // self.block_length
        mask = torch.where(block[:, None] >= block[None, :], 0.0, torch.finfo(torch.float32).min)
        with torch.no_grad():
            return self.model(torch.tensor([tokens]), attention_mask=mask[None, None]).logits[0].float()


def greedy(row: Any) -> tuple[int, float]:
    """The best token and its probability over the unfiltered distribution."""
    probabilities = torch.softmax(row.double(), dim=-1)
    token = int(row.argmax())
    return token, float(probabilities[token])


def _without(rows: Any, mask: int) -> Any:
    """Proposals are never the mask; its probability counts all the same."""
    proposals = rows.clone()
    proposals[:, mask] = -torch.inf
    return proposals


def _share(block_length: int, steps: int) -> list[int]:
    base, rest = divmod(block_length, steps)
    return [base + (i < rest) for i in range(steps)]


def _entropy(row: Any) -> float:
    logs = torch.log_softmax(row.double(), dim=-1)
    return float(-(logs.exp() * logs).nan_to_num().sum())


def sdar(
    net: Logits,
    prompt: list[int],
    total: int,
    mask: int,
    block_length: int,
    *,
    steps: int,
    order: str,
    threshold: float = 0.85,
    min_transfer: int = 1,
    published: bool = False,
) -> list[int]:
    """block_diffusion_generate of SDAR (also LLaDA2.0, whose rule is "dynamic"); masks in the prompt are decided, too.

    published: confidences are those of top_k=1, which is how SDAR decodes greedily, and a share that exceeds the
    masks left goes to other positions.
    """
    length = -(-total // block_length) * block_length
    x = [*prompt, *[mask] * (length - len(prompt))]
    for begin in range(0, length, block_length):
        block = range(begin, begin + block_length)
        step = 0
        while any(x[p] == mask for p in block):
            rows = net(x[: begin + block_length])[begin:]
            proposals = _without(rows, mask)
            tokens = proposals.argmax(-1).tolist()
            sure = torch.softmax(rows.double(), dim=-1)[range(block_length), tokens]
            if published:
                sure = torch.ones(block_length)
            is_mask = torch.tensor([x[p] == mask for p in block])
            left = int(is_mask.sum())
            count = max(_share(block_length, steps)[step], min_transfer)
            count = count if published else min(count, left)
            sure = torch.where(is_mask, sure, -torch.inf)
            if order == "sequential":
                chosen = is_mask.nonzero()[:count, 0].tolist()
            elif order == "entropy_bound":
                entropies = sorted((_entropy(proposals[i]), i) for i in range(block_length) if is_mask[i])
                chosen = [
                    i
                    for k, (_, i) in enumerate(entropies)
                    if k < count or sum(h for h, _ in entropies[:k]) <= threshold
                ]
            elif order == "dynamic" and int((sure > threshold).sum()) >= count:
                chosen = (sure > threshold).nonzero()[:, 0].tolist()
            else:
                chosen = torch.topk(sure, count).indices.tolist()
            for i in chosen:
                x[begin + i] = tokens[i]
            step += 1
    return x[:total]


def llada21(
    net: Logits,
    prompt: list[int],
    total: int,
    mask: int,
    block_length: int,
    *,
    threshold: float,
    edit_threshold: float,
    max_post_steps: int = 16,
    min_transfer: int = 1,
    order: str = "dynamic",
) -> list[int]:
    """generate of LLaDA2.1: masks by threshold, and tokens of the open block that are edited."""
    assert order == "dynamic"
    length = -(-total // block_length) * block_length
    x = [*prompt, *[mask] * (length - len(prompt))]
    given = [token != mask for token in x]
    for begin in range(0, length, block_length):
        block = range(begin, begin + block_length)
        if all(x[p] != mask for p in block):
            continue
        post_steps = 0
        while True:
            is_mask = torch.tensor([x[p] == mask for p in block])
            if not is_mask.any():
                post_steps += 1
            if post_steps > max_post_steps:
                break
            rows = net(x[: begin + block_length])[begin:]
            tokens = _without(rows, mask).argmax(-1)
            sure = torch.softmax(rows.double(), dim=-1)[range(block_length), tokens]
            transfer = torch.zeros(block_length, dtype=torch.bool)
            if is_mask.any():
                masked = torch.where(is_mask, sure, -torch.inf)
                transfer = (masked > threshold) & is_mask
                if int(transfer.sum()) < min_transfer:
                    count = min(min_transfer, int(is_mask.sum()))
                    transfer = torch.zeros(block_length, dtype=torch.bool)
                    transfer[torch.topk(masked, count).indices] = True
            editable = ~is_mask & ~torch.tensor([given[p] for p in block])
            old = torch.tensor([x[p] for p in block])
            edits = editable & (sure > edit_threshold) & (tokens != old)
            for i in (transfer | edits).nonzero()[:, 0].tolist():
                x[begin + i] = int(tokens[i])
            if not is_mask.any() and not edits.any():
                break
    return x[:total]


def fast_dllm_v2(
    net: Logits,
    prompt: list[int],
    total: int,
    mask: int,
    block_length: int,
    *,
    window: int,
    threshold: float,
    steps: int | None = None,
) -> list[int]:
    """generate of Fast-dLLM v2 without its block cache: the last row of a finished block decides the next token, then
    sub-blocks are filled from left to right by rows shifted by one.
    """
    steps = steps or window
    x = list(prompt)
    while len(x) < total or mask in x[:total]:
        first = x.index(mask) if mask in x else len(x)
        begin = first // block_length * block_length
        if first == begin:
            token = int(_without(net(x[:begin])[-1:], mask).argmax())
            x[first : first + 1] = [token]
        x += [mask] * (begin + block_length - len(x))
        for start in range(begin, begin + block_length, window):
            step = 0
            while any(token == mask for token in x[start : start + window]):
                rows = net(x[: begin + block_length])
                rows = torch.cat([rows[:1], rows[:-1]])[start : start + window]
                is_mask = torch.tensor([token == mask for token in x[start : start + window]])
                tokens = _without(rows, mask).argmax(-1)
                sure = torch.softmax(rows.double(), dim=-1)[range(window), tokens]
                sure = torch.where(is_mask, sure, -torch.inf)
                count = min(_share(window, steps)[step], int(is_mask.sum()))
                chosen = sure > threshold
                if int(chosen.sum()) < count:
                    chosen = torch.zeros(window, dtype=torch.bool)
                    chosen[torch.topk(sure, count).indices] = True
                for i in chosen.nonzero()[:, 0].tolist():
                    x[start + i] = int(tokens[i])
                step += 1
    return x[:total]
