"""dllm's BD3LM sampler, for causal models turned into block diffusion (a2d checkpoints).

Source: dllm (arXiv 2602.22661), dllm/core/samplers/bd3lm.py and utils.py. Attention is block-causal, not shifted, and
blocks are counted from the end of the prompt: it is padded on the left to whole blocks, and padding is not attended to.
Positions do not count padding. A row of a batch is what it would be alone, so one sequence is enough here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .network import RankedNetwork
from .record import Run
from .rules import best, canvas, gumbel_argmax, probability_of, without


def transfers(masks: int, steps: int) -> list[int]:
    """How many of `masks` each step reveals, under the linear schedule: the j-th last step a share of 1 / j of what is
    left, rounded half to even. Steps that would reveal nothing are dropped."""
    counts = []
    for left in range(steps, 0, -1):
        counts.append(min(masks, round(masks / left)))
        masks -= counts[-1]
    return [count for count in counts if count]


def generate(
    network: RankedNetwork,
    prompt: Tensor,
    *,
    mask_id: int,
    eos_id: int | None = None,
    max_new_tokens: int = 128,
    block_length: int = 32,
    steps: int = 128,
    steps_per_block: int | None = None,
    temperature: float = 0.0,
    remasking: str = "low_confidence",
    cfg_scale: float = 0.0,
    alignment: str = "prompt_end",
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [1, P] -> ids [1, at most P + max_new_tokens].

    A block takes steps_per_block forwards (default: ceil(steps / blocks)), each revealing the masks with the highest
    probability of the proposed token, before temperature, or random ones; the last block may be short. Decoding ends
    after a block that holds eos. With cfg_scale the unconditional context is the prompt and earlier blocks as masks.
    Every block starts with a forward of its prefix (kind "prefill").
    alignment: "prompt_end", or "absolute", where the prompt's tail shares the first generated block.
    quirks, as published: the mask may be proposed, and what follows the eos is kept. Without: the mask is not proposed,
    though its probability counts, and the ids are cut after the first eos.
    """
    length = prompt.shape[1]
    end = length + max_new_tokens
    offset = -length % block_length if alignment == "prompt_end" else 0
    blocks = (torch.arange(end) + offset) // block_length
    if steps_per_block is None:
        steps_per_block = -(-steps // -(-max_new_tokens // block_length))
    run = Run(canvas(prompt, end, mask_id))
    for block in blocks[length:].unique().tolist():
        rows = (blocks == block).nonzero()[:, 0]
        low, high = int(rows[0]), int(rows[-1]) + 1
        if low:
            run.forward(low * (2 if cfg_scale else 1), "prefill")
        for count in transfers(int((run.ids[0, low:high] == mask_id).sum()), steps_per_block):
            masks = low + (run.ids[0, low:high] == mask_id).nonzero()[:, 0]
            run.forward((high - low) * (2 if cfg_scale else 1))
            x, where, ranks = run.ids[:, :high], torch.arange(high), blocks[:high]
            logits = network.with_ranks(x, where, ranks)[0]
            if cfg_scale:
                hidden = torch.where((where < low) & (x != mask_id), mask_id, x)
                unconditional = network.with_ranks(hidden, where, ranks)[0]
                logits = unconditional + (cfg_scale + 1) * (logits - unconditional)
            tokens = gumbel_argmax(without(logits, None if quirks else mask_id), temperature, generator)
            confidence = probability_of(logits.double().softmax(-1), tokens)
            if remasking == "random":
                confidence = torch.rand(confidence.shape, dtype=torch.float64, generator=generator)
            run.write(0, masks[best(confidence[masks], count)], tokens, confidence)
        if eos_id in run.ids[0, max(low, length) : high].tolist():
            end = high
            break
    new = run.ids[0, length:end].tolist()
    if not quirks and eos_id in new:
        end = length + new.index(eos_id) + 1
    run.ids = run.ids[:, :end]
    return run
