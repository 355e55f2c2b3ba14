"""Heads that fill a block of masks in one forward: DFlash, and DSpark, which corrects each place by the token before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from reference.draft_heads.parts import Tensors, causal


class Block:
    """block: rows of a block; from_anchor: its first row, the last token, speaks for the first guess."""

    def __init__(self, folder: Path, embed: Tensor, head: Tensor, *, block: int, mask: int, from_anchor: bool) -> None:
        self.tensors = Tensors(folder)
        self.embed = self.tensors.get("embed_tokens.weight", embed)
        self.head = self.tensors.get("lm_head.weight", head)
        self.block, self.mask, self.from_anchor = block, mask, from_anchor

    def token_of(self, index: int) -> int:
        offsets = self.tensors.get("d2t")
        return index if offsets is None else index + int(offsets[index])

    def hidden(self, tokens: Sequence[int], states: Tensor) -> Tensor:
        """The block's rows, normed, that speak for guesses: [guesses, hidden]."""
        t = self.tensors
        context = t.norm("hidden_norm", t.linear("fc", states.flatten(1)))
        x = self.embed[torch.tensor([tokens[-1]] + [self.mask] * (self.block - 1))]
        past, total = len(context), len(context) + self.block
        positions = torch.arange(total)
        for i in range(t.layer_config["num_hidden_layers"]):
            name = f"layers.{i}"
            sees = torch.ones(self.block, total, dtype=torch.bool)
            types = t.layer_config.get("layer_types")
            if types and types[i] == "sliding_attention":
                # z-lab: sliding layers are causal unless is_causal says something else.
                if t.config.get("is_causal") is not False:
                    sees[:, past:] = causal(self.block)
                distance = (positions[past:, None] - positions[None, :]).abs()
                sees &= distance < t.layer_config["sliding_window"]
            normed = t.norm(f"{name}.input_layernorm", x)
            x = x + t.attention(f"{name}.self_attn", normed, positions, sees, context)
            x = x + t.mlp(f"{name}.mlp", t.norm(f"{name}.post_attention_layernorm", x))
        return t.norm("norm", x)[0 if self.from_anchor else 1 :]

    @torch.no_grad()
    def logits(self, tokens: Sequence[int], states: Tensor, guesses: Sequence[int]) -> Tensor:
        """[len(guesses) + 1, own vocabulary]: of each guess, and of one more, given those before it."""
        hidden = self.hidden(tokens, states)[: len(guesses) + 1]
        logits = hidden @ self.head.T
        t, rank = self.tensors, self.tensors.config.get("markov_rank", 0)
        if not rank:
            return logits
        kind, state, out = t.config["markov_head_type"], torch.zeros(rank), []
        for row, base, before in zip(hidden, logits, [tokens[-1], *guesses], strict=True):
            latent = t["markov_head.markov_w1.weight"][before]
            if kind == "gated":
                gate = t.linear("markov_head.gate_proj", torch.cat([row, latent])).sigmoid()
                latent = gate * latent
            elif kind == "rnn":
                gate, candidate, shown = t.linear("markov_head.joint_proj", torch.cat([state, latent, row])).chunk(3)
                state = gate.sigmoid() * state + (1 - gate.sigmoid()) * candidate.tanh()
                latent = shown.tanh()
            out.append(base + t.linear("markov_head.markov_w2", latent))
        return torch.stack(out)

    def greedy(self, tokens: Sequence[int], states: Tensor, count: int) -> list[int]:
        guesses: list[int] = []
        for _ in range(min(count, self.block - (0 if self.from_anchor else 1))):
            guesses.append(self.token_of(int(self.logits(tokens, states, guesses)[-1].argmax())))
        return guesses
