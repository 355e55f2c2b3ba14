"""What the reference samplers call a network, and a small transformer that is one.

A network maps ids [B, L] to logits [B, L, V] under its family's attention rule; the row at position p is what the model
says there, never shifted. Two more doors, for the samplers that need them: `with_ranks` takes rows in any order with
their positions and their attention rule, `with_cache` takes keys and values that an earlier forward returned.

Every attention rule here is a pair of integers per row: query q sees key k iff rank[k] <= limit[q], or k is q itself.

| rule | rank = limit |
|---|---|
| full | 0 |
| causal | position |
| block-causal | position // block length |
| semi-causal | 0 for clean rows, i + 1 for the i-th masked row |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

KeysValues = list[tuple[Tensor, Tensor]]  # per layer: keys and values [B, key-value heads, rows, head_dim], rotated


class Network(Protocol):
    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Ids [B, L], 1 where a key may be seen [B, L] -> logits [B, L, V]."""


class RankedNetwork(Protocol):
    def with_ranks(self, ids: Tensor, positions: Tensor, ranks: Tensor, limits: Tensor | None = None) -> Tensor:
        """Ids [B, q], positions, ranks and limits [q] -> logits [B, q, V]."""


class CachedNetwork(Protocol):
    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor: ...

    def with_cache(
        self, ids: Tensor, positions: Tensor, sees: Tensor, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """Ids [B, q], positions [q], sees [q, p + q] -> logits [B, q, V] and the new keys and values of the q rows."""


def visible(ranks: Tensor, limits: Tensor) -> Tensor:
    """Ranks and limits [q] -> bool [q, q]: may the query (row) see the key (column)?"""
    return (ranks[None, :] <= limits[:, None]) | torch.eye(len(ranks), dtype=torch.bool)


@dataclass(frozen=True)
class Shape:
    vocab_size: int = 40
    hidden_size: int = 32
    intermediate_size: int = 48
    num_layers: int = 2
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 16
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = True

    @property
    def model_type(self) -> str:
        """The Hugging Face family with these parts: all of Qwen3's norms, or Qwen2's biases, or neither."""
        if self.qk_norm and self.qkv_bias:
            raise ValueError("no Hugging Face family has q/k norms and q/k/v biases but no output bias")
        return "qwen3" if self.qk_norm else "qwen2" if self.qkv_bias else "llama"


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """x [B, heads, q, d] with its halves turned by the angles of positions [q]."""
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta ** (-torch.arange(half) / half)
    cos, sin, (first, second) = angles.cos(), angles.sin(), x.split(half, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        wide, narrow = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, wide, bias=shape.qkv_bias)
        self.k_proj = nn.Linear(shape.hidden_size, narrow, bias=shape.qkv_bias)
        self.v_proj = nn.Linear(shape.hidden_size, narrow, bias=shape.qkv_bias)
        self.o_proj = nn.Linear(wide, shape.hidden_size, bias=False)
        if shape.qk_norm:
            self.q_norm = RMSNorm(shape.head_dim, shape.norm_eps)
            self.k_norm = RMSNorm(shape.head_dim, shape.norm_eps)

    def forward(
        self, x: Tensor, positions: Tensor, sees: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [B, q, hidden], sees [B or 1, 1, q, p + q] -> [B, q, hidden] and the new keys and values."""
        batch, rows, _ = x.shape
        query, key, value = (
            project(x).view(batch, rows, -1, self.shape.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.shape.qk_norm:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = (rotate(part, positions, self.shape.rope_theta) for part in (query, key))
        keys, values = (key, value) if past is None else (torch.cat([past[0], key], 2), torch.cat([past[1], value], 2))
        group = self.shape.num_heads // self.shape.num_kv_heads
        scores = query @ keys.repeat_interleave(group, 1).transpose(2, 3) / self.shape.head_dim**0.5
        weights = scores.masked_fill(~sees, torch.finfo(scores.dtype).min).softmax(-1)
        mixed = weights @ values.repeat_interleave(group, 1)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, rows, -1)), (key, value)


class MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.norm_eps)
        self.mlp = MLP(shape)


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.norm_eps)


class ReferenceNetwork(nn.Module):
    """A random llama, Qwen2 or Qwen3 in float32 whose logits differ clearly, read under a stated attention rule.

    attention: "full", "causal" or "block_causal" (with `block_length`; blocks lie at absolute positions).
    """

    def __init__(
        self, shape: Shape | None = None, attention: str = "full", *, block_length: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        self.shape, self.attention, self.block_length = shape or Shape(), attention, block_length
        self.model = Decoder(self.shape)
        self.lm_head = nn.Linear(self.shape.hidden_size, self.shape.vocab_size, bias=False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            mean, std = (0.0, 0.4) if parameter.dim() == 2 or not bool(parameter.detach().eq(1).all()) else (1.0, 0.1)
            parameter.requires_grad_(False).normal_(mean, std, generator=generator)

    def reading(self, attention: str, block_length: int = 1) -> ReferenceNetwork:
        """The same weights under another rule."""
        other = ReferenceNetwork(self.shape, attention, block_length=block_length)
        other.load_state_dict(self.state_dict())
        return other

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Ids [B, L] -> logits [B, L, V]; a 0 in attention_mask [B, L] hides that key and moves no position."""
        positions = torch.arange(ids.shape[1])
        ranks = {"full": positions * 0, "causal": positions, "block_causal": positions // self.block_length}
        sees = visible(ranks[self.attention], ranks[self.attention])
        if attention_mask is not None:
            sees = (sees & attention_mask.bool()[:, None, :]) | torch.eye(ids.shape[1], dtype=torch.bool)
        return self.with_cache(ids, positions, sees)[0]

    def with_ranks(self, ids: Tensor, positions: Tensor, ranks: Tensor, limits: Tensor | None = None) -> Tensor:
        return self.with_cache(ids, positions, visible(ranks, ranks if limits is None else limits))[0]

    def with_cache(
        self, ids: Tensor, positions: Tensor, sees: Tensor, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        hidden, kept = self.model.embed_tokens(ids), []
        sees = sees[:, None] if sees.dim() == 3 else sees[None, None]
        for index, layer in enumerate(self.model.layers):
            mixed, new = layer.self_attn(layer.input_layernorm(hidden), positions, sees, past and past[index])
            hidden = hidden + mixed
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
            kept.append(new)
        return self.lm_head(self.model.norm(hidden)), kept

    def save(self, folder: Path) -> Path:
        """Writes config.json and model.safetensors as Hugging Face does."""
        shape = self.shape
        config = {
            "model_type": shape.model_type,
            "architectures": [f"{shape.model_type.capitalize()}ForCausalLM"],
            "vocab_size": shape.vocab_size,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.num_layers,
            "num_attention_heads": shape.num_heads,
            "num_key_value_heads": shape.num_kv_heads,
            "head_dim": shape.head_dim,
            "rope_theta": shape.rope_theta,
            "rms_norm_eps": shape.norm_eps,
            "hidden_act": "silu",
            "attention_bias": False,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        save_file(dict(self.state_dict()), folder / "model.safetensors", {"format": "pt"})
        return folder
