"""Autoregressive decoding with multi-token prediction: masks to the right of the next token are latent tokens.

Source: arXiv 2602.03769 and its code release (difflm.py with ar_noise; ar-mtp-full and ar-mtp-causal-context). A
forward sees the prefix and the next `window` masks, no further than the sequence will reach; the first mask's row
speaks for its own position and is decided, the others are not. window 1 is decoding without latent tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .network import RankedNetwork
from .record import Run
from .rules import canvas, gumbel_argmax, without

ATTENTION = ("full", "causal_context")


def generate(
    network: RankedNetwork,
    prompt: Tensor,
    *,
    mask_id: int,
    max_new_tokens: int,
    window: int | None = None,
    attention: str = "full",
    eos_id: int | None = None,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [1, P] -> ids [1, at most P + max_new_tokens], cut after the first eos. window None: all masks.

    attention: "full", prefix and masks see each other; "causal_context", the prefix is causal and does not see masks,
    which see all of it and each other, so that the prefix could be cached. The mask itself is impossible.
    """
    if attention not in ATTENTION:
        raise ValueError(f"attention is {attention!r}, not one of {ATTENTION}")
    length = prompt.shape[1]
    run = Run(canvas(prompt, length + max_new_tokens, mask_id))
    for place in range(length, length + max_new_tokens):
        high = min(place + (window or max_new_tokens), length + max_new_tokens)
        positions = torch.arange(high)
        ranks = positions.clamp(max=place) if attention == "causal_context" else positions * 0
        run.forward(high)
        logits = without(network.with_ranks(run.ids[:, :high], positions, ranks)[0, place].double(), mask_id)
        token = int(gumbel_argmax(logits, temperature, generator))
        run.write(0, [place], {place: token}, {place: float(logits.softmax(-1)[token])})
        if token == eos_id:
            run.ids = run.ids[:, : place + 1]
            break
    return run
