"""LLaDA's sampler: low-confidence or random remasking, block by block, classifier-free guidance.

Source: arXiv 2502.09992; ML-GSAI/LLaDA generate.py (2026-06). The network is bidirectional, its logits are not shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .network import Network
from .record import Run
from .rules import best, canvas, even_shares, gumbel_argmax, probability_of, without


@dataclass(frozen=True)
class Options:
    """What one forward proposes, and how sure it is.

    remasking: "low_confidence" (probability of the proposed token before temperature) or "random" (a uniform number).
    logits_eos_inf: eos is never proposed. confidence_eos_eot_inf: eos and eot are proposed, but with confidence 0, so
    they come last.
    quirks, as published: the second flag writes -inf for eos into the noisy logits, which share memory with the clean
    ones only at temperature 0, so that at a higher temperature eos is not put last; and the mask may be proposed, and
    its position stays masked. Without: both tokens come last at any temperature, and the mask is not proposed, though
    its probability counts.
    """

    mask_id: int
    temperature: float = 0.0
    cfg_scale: float = 0.0
    remasking: str = "low_confidence"
    logits_eos_inf: bool = False
    confidence_eos_eot_inf: bool = False
    eos_id: int | None = None
    eot_id: int | None = None
    quirks: bool = True
    generator: torch.Generator | None = None

    def proposals(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, L, V] -> tokens [B, L] and confidences [B, L]."""
        if self.logits_eos_inf:
            logits = without(logits, self.eos_id)
        allowed = without(logits, None if self.quirks else self.mask_id)
        tokens = gumbel_argmax(allowed, self.temperature, self.generator)
        if self.confidence_eos_eot_inf:
            logits = without(logits, self.eot_id)
            if not self.quirks or self.temperature == 0:
                logits = without(logits, self.eos_id)
        if self.remasking == "random":
            return tokens, torch.rand(tokens.shape, dtype=torch.float64, generator=self.generator)
        return tokens, probability_of(logits.double().softmax(-1), tokens)


def generate(
    network: Network,
    prompt: Tensor,
    *,
    steps: int = 128,
    gen_length: int = 128,
    block_length: int = 128,
    attention_mask: Tensor | None = None,
    **options: object,
) -> Run:
    """generate(): prompt [B, P] -> canvas [B, P + gen_length]; the rest as in `Options`.

    Equal prompts need no attention_mask [B, P]; left-padded ones do. It hides padding as keys and moves no position.
    Every block takes steps / blocks forwards, even if its masks are gone sooner.
    """
    if gen_length % block_length or steps % (gen_length // block_length):
        raise ValueError("gen_length must be a multiple of block_length, steps of the number of blocks")
    length = prompt.shape[1]
    starts = range(length, length + gen_length, block_length)
    if attention_mask is not None:
        attention_mask = torch.cat([attention_mask, torch.ones(len(prompt), gen_length, dtype=torch.long)], 1)
    settings = Options(**options)  # type: ignore[arg-type]
    run = Run(canvas(prompt, length + gen_length, settings.mask_id))
    windows = [(start, start + block_length) for start in starts]
    return _unmask(network, run, windows, steps // len(starts), attention_mask, settings)


def infill(network: Network, ids: Tensor, *, steps: int, block_length: int | None = None, **options: object) -> Run:
    """Decodes the masks that stand in ids [B, L], in place.

    The windows lie block_length apart from position 0 over the whole sequence (default: one window), each gets
    ceil(steps / windows) steps, and one without masks is passed over: the infilling rule of dllm's MDLM sampler.
    """
    settings = Options(**options)  # type: ignore[arg-type]
    length = block_length or ids.shape[1]
    windows = [(start, min(start + length, ids.shape[1])) for start in range(0, ids.shape[1], length)]
    masked = [(low, high) for low, high in windows if bool((ids[:, low:high] == settings.mask_id).any())]
    return _unmask(network, Run(ids.clone()), masked, -(-steps // len(windows)), None, settings)


def _unmask(
    network: Network,
    run: Run,
    windows: Sequence[tuple[int, int]],
    steps: int,
    attention_mask: Tensor | None,
    options: Options,
) -> Run:
    x, mask_id = run.ids, options.mask_id
    given = x != mask_id
    for low, high in windows:
        shares = [even_shares(int(count), steps) for count in (x[:, low:high] == mask_id).sum(1)]
        for step in range(steps):
            run.forward(x.numel() * (2 if options.cfg_scale else 1))
            logits = network(x, attention_mask)
            if options.cfg_scale:
                unconditional = network(x.masked_fill(given, mask_id), attention_mask)
                logits = unconditional + (options.cfg_scale + 1) * (logits - unconditional)
            tokens, confidence = options.proposals(logits)
            masked = x == mask_id
            masked[:, high:] = False
            confidence = confidence.masked_fill(~masked, -torch.inf)
            for row, share in enumerate(shares):
                run.write(row, best(confidence[row], share[step]), tokens[row], confidence[row])
    return run
