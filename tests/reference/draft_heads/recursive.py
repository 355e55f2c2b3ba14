"""Heads that guess token by token: a row holds the feature of a position and the token behind it, and what comes out of
the last row is the feature of the next one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from reference.draft_heads.parts import Tensors, causal


class Recursive(ABC):
    def __init__(self, folder: Path, embed: Tensor, head: Tensor) -> None:
        self.tensors = Tensors(folder)
        self.embed = self.tensors.get("embed_tokens.weight", embed)
        self.head = self.tensors.get("lm_head.weight", head)

    @abstractmethod
    def project(self, states: Tensor) -> Tensor:
        """[n, layers, target hidden] -> features [n, hidden]."""

    @abstractmethod
    def rows(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [n] and features [n, hidden] of consecutive positions -> next features and logits [n, ...]."""

    def token_of(self, index: int) -> int:
        """The target's token of an entry of the logits."""
        offsets = self.tensors.get("d2t")
        return index if offsets is None else index + int(offsets[index])

    @torch.no_grad()
    def logits(self, tokens: Sequence[int], states: Tensor, guesses: Sequence[int]) -> Tensor:
        """[len(guesses) + 1, own vocabulary]: of each guess, and of one more, given those before it."""
        features = self.project(states)
        behind = list(tokens[1:])
        out = []
        for guess in [*guesses, None]:
            following, logits = self.rows(torch.tensor(behind), features)
            out.append(logits[-1])
            if guess is not None:
                features = torch.cat([features, following[-1:]])
                behind.append(guess)
        return torch.stack(out)

    def greedy(self, tokens: Sequence[int], states: Tensor, count: int) -> list[int]:
        guesses: list[int] = []
        while len(guesses) < count:
            guesses.append(self.token_of(int(self.logits(tokens, states, guesses)[-1].argmax())))
        return guesses

    def tree(self, tokens: Sequence[int], states: Tensor, width: int, depth: int, count: int) -> list[tuple[int, int]]:
        """EAGLE-2's tree: nodes (token, parent), the `count` likeliest of all; `width` of a level are expanded."""
        nodes: list[tuple[float, int, int, list[int]]] = []  # log-probability, token, parent, path
        level = [(0.0, -1, [])]
        for _ in range(depth):
            added = []
            for score, index, path in level:
                best = self.logits(tokens, states, path)[-1].log_softmax(-1).topk(width)
                for value, entry in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                    token = self.token_of(entry)
                    nodes.append((score + value, token, index, [*path, token]))
                    added.append((score + value, len(nodes) - 1, [*path, token]))
            level = sorted(added, key=lambda node: -node[0])[:width]
        kept = sorted(range(len(nodes)), key=lambda i: -nodes[i][0])[:count]
        return sorted((nodes[i][1], nodes[i][2] if nodes[i][2] < 0 else nodes[nodes[i][2]][1]) for i in kept)


class Eagle3(Recursive):
    """EAGLE-3: one layer over pairs, or more behind it."""

    def project(self, states: Tensor) -> Tensor:
        flat = states.flatten(1)
        if self.tensors.config.get("norm_before_fc"):
            flat = self.tensors.norm("input_norm", flat)
        return self.tensors.linear("fc", flat)

    def rows(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        t = self.tensors
        first = "midlayer" if "midlayer.hidden_norm.weight" in t else "layers.0"
        positions, sees = torch.arange(len(tokens)), causal(len(tokens))
        normed = t.norm(f"{first}.hidden_norm", features)
        pairs = torch.cat([t.norm(f"{first}.input_layernorm", self.embed[tokens]), normed], dim=-1)
        residual = normed if t.config.get("norm_before_residual") else features
        x = residual + t.attention(f"{first}.self_attn", pairs, positions, sees)
        x = x + t.mlp(f"{first}.mlp", t.norm(f"{first}.post_attention_layernorm", x))
        for i in range(1, t.layer_config["num_hidden_layers"]):
            name = f"layers.{i}"
            x = x + t.attention(f"{name}.self_attn", t.norm(f"{name}.input_layernorm", x), positions, sees)
            x = x + t.mlp(f"{name}.mlp", t.norm(f"{name}.post_attention_layernorm", x))
        return x, t.norm("norm", x) @ self.head.T


class Mtp(Recursive):
    """An MTP layer in one of three spellings; `names` are those of its parts."""

    def __init__(self, folder: Path, embed: Tensor, head: Tensor, names: dict[str, str], feature_first: bool) -> None:
        super().__init__(folder, embed, head)
        self.embed, self.head = embed, head
        self.names, self.feature_first = names, feature_first

    def project(self, states: Tensor) -> Tensor:
        return states[:, 0]

    def rows(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        t, names = self.tensors, self.names
        positions, sees = torch.arange(len(tokens)), causal(len(tokens))
        e = t.norm(names["embed_norm"], self.embed[tokens])
        f = t.norm(names["feature_norm"], features)
        x = t.linear(names["projection"], torch.cat([f, e] if self.feature_first else [e, f], dim=-1))
        layer = names["layer"]
        x = x + t.attention(f"{layer}.self_attn", t.norm(f"{layer}.input_layernorm", x), positions, sees)
        x = x + t.mlp(f"{layer}.mlp", t.norm(f"{layer}.post_attention_layernorm", x))
        x = t.norm(names["final_norm"], x)
        return x, x @ self.head.T
