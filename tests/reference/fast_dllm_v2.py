"""Fast-dLLM v2: blocks of 32 in sub-blocks of 8, shifted, on a block-causal network.

Source: arXiv 2509.26328; NVlabs/Fast-dLLM v2 generation_functions.py (batch_sample). The rule in full:

 1. Blocks lie at absolute positions. The prompt's whole blocks are cached; its tail opens the first generated block.
 2. Logits are shifted: row p - 1 speaks for p. A block's first position is therefore read from the last row of the
    block before, in the forward that stores that complete block; its token is the argmax, whatever the temperature. A
    prompt of whole blocks gets its first token from the prefill. So a block always opens with a known token.
 3. The block's other positions start as masks. Its sub-blocks are decoded one after another, left to right; each takes
    forwards of the whole block, later masks included, until none of its own masks is left.
 4. A forward writes, among the sub-block's masks, all tokens more probable than the threshold, and the likeliest.
 5. A complete block is stored by one more forward, which also gives the next token (2).

Finished blocks are cached there, which is exact, so here the prefix is read anew and a block's rows are counted.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import CachedNetwork, KeysValues, Network, visible
from .record import Run
from .rules import best, canvas, keep_top_p, multinomial, probability_of, shift, without


def generate(
    network: Network | CachedNetwork,
    prompt: Tensor,
    *,
    mask_id: int,
    eos_id: int | None = None,
    max_new_tokens: int = 128,
    block_length: int = 32,
    sub_block_length: int = 8,
    threshold: float = 0.9,
    temperature: float = 0.0,
    top_p: float = 0.95,
    sub_block_cache: bool = False,
    quirks: bool = True,
    generator: torch.Generator | None = None,
) -> Run:
    """Prompt [1, P] -> ids [1, at most P + max_new_tokens], cut after the first eos.

    sub_block_cache: while a sub-block's first position is decided, only its own rows are computed, against keys and
    values of the block's latest whole forward (approximate; the published use_block_cache).
    The mask is never proposed, though without sampling its probability counts.
    quirks, as published: (P // block + max_new_tokens // block) blocks are filled and one more token follows; an eos
    that opens a block does not stop. Not followed: a prompt of exactly one block is not read at all there.
    """
    length = prompt.shape[1]
    end = length + max_new_tokens
    if quirks:
        end = (length // block_length + max_new_tokens // block_length) * block_length + 1
    if end <= length:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; the published code fills no block")
    run = Run(canvas(prompt, -(-end // block_length) * block_length + 1, mask_id))
    low = length // block_length * block_length
    if low:
        run.forward(low, "prefill")
    if low == length:
        _open_block(network, run, low, mask_id)
    while low + 1 < end:
        high = low + block_length
        block = _Block(network, run, low, high, sub_block_cache)
        for start in range(low, high, sub_block_length):
            stop = start + sub_block_length
            while (masks := start + (run.ids[0, start:stop] == mask_id).nonzero()[:, 0]).numel():
                logits = block.read(start, stop, mask_id)
                tokens, confidence = _propose(logits, mask_id, temperature, top_p, generator)
                chosen = masks[confidence[masks] > threshold]
                run.write(0, {*chosen.tolist(), int(masks[best(confidence[masks], 1)])}, tokens, confidence)
        if eos_id in run.ids[0, max(length, low + 1 if quirks else low) : high].tolist():
            break
        if high < end:
            run.forward(block_length, "store")
            _open_block(network, run, high, mask_id)
        low = high
    new = run.ids[0, length:end].tolist()
    run.ids = run.ids[:, : length + new.index(eos_id) + 1 if eos_id in new else end]
    return run


def _open_block(network: Network, run: Run, low: int, mask_id: int) -> None:
    """Writes the token at `low` from the row before it, in the name of the forward that stored that row."""
    logits = network(run.ids[:, :low])[0, -1].double()
    token = int(without(logits, mask_id).argmax())
    run.write(0, [low], {low: token}, {low: float(logits.softmax(-1)[token])})


def _propose(
    logits: Tensor, mask_id: int, temperature: float, top_p: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Logits [L, V] -> tokens and their probabilities [L]; top-p acts only with sampling."""
    allowed = without(logits.double(), mask_id)
    if temperature == 0:
        tokens = allowed.argmax(-1)
        return tokens, probability_of(logits.double().softmax(-1), tokens)
    probabilities = keep_top_p(allowed / temperature, top_p).softmax(-1)
    tokens = multinomial(probabilities, generator)
    return tokens, probability_of(probabilities, tokens)


class _Block:
    """Forwards of one block; their logits are shifted and stand at the canvas's positions, [high, V]."""

    def __init__(self, network: Network | CachedNetwork, run: Run, low: int, high: int, cached: bool) -> None:
        self.network, self.run, self.low, self.high, self.cached = network, run, low, high, cached
        self.kept: KeysValues | None = None

    def read(self, start: int, stop: int, mask_id: int) -> Tensor:
        x = self.run.ids[:, : self.high]
        if self.cached and self.kept is not None and x[0, start] != mask_id:
            outside = torch.ones(self.high, dtype=torch.bool)
            outside[start:stop] = False
            past = [(keys[:, :, outside], values[:, :, outside]) for keys, values in self.kept]
            rows = torch.arange(start, stop)
            self.run.forward(len(rows))
            logits, _ = self.network.with_cache(x[:, rows], rows, torch.ones(len(rows), self.high).bool(), past)
            return F.pad(shift(logits)[0], (0, 0, start, self.high - stop))
        self.run.forward(self.high - self.low)
        if not self.cached:
            return shift(self.network(x))[0]
        positions = torch.arange(self.high)
        ranks = positions // (self.high - self.low)
        logits, self.kept = self.network.with_cache(x, positions, visible(ranks, ranks))
        return shift(logits)[0]
