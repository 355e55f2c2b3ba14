"""A plain PyTorch Qwen3 (RMS norm, per-head query/key norm, rotary positions, SwiGLU, tied embeddings), for training.

With `learned_positions` a table of position embeddings is added to the tokens' and nothing is rotated: what grids need.

Parameter names are Hugging Face's, so `state_dict()` is a checkpoint as it stands. Matrix products may run under
bfloat16 autocast; attention and norms stay in float32, which is faster and safer on CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Qwen3Config:
    """Sizes; the names are config.json's."""

    vocab_size: int
    hidden_size: int = 128
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 384
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 1024
    learned_positions: bool = False


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


Angles = tuple[Tensor, Tensor]
"""Cosines and sines of the rotary positions, [batch, 1, length, head_dim] each."""


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to x [batch, heads, length, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Cache:
    """Keys and values of every layer, [batch, kv heads, capacity, head_dim], for rows that grow at their own pace."""

    def __init__(self, config: Qwen3Config, batch: int, capacity: int) -> None:
        shape = (batch, config.num_key_value_heads, capacity, config.head_dim)
        self.keys = [torch.zeros(shape) for _ in range(config.num_hidden_layers)]
        self.values = [torch.zeros(shape) for _ in range(config.num_hidden_layers)]

    def keep(self, rows: Tensor) -> None:
        """Drop every row of the batch but `rows`."""
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]


class Attention(nn.Module):
    def __init__(self, config: Qwen3Config, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.q_proj = nn.Linear(config.hidden_size, heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * config.head_dim, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.groups = heads // kv_heads

    def forward(
        self, x: Tensor, angles: Angles | None, positions: Tensor, cache: Cache | None, mask: Tensor | None
    ) -> Tensor:
        batch, length, _ = x.shape
        split = (batch, length, -1, self.head_dim)
        query = self.q_norm(self.q_proj(x).view(split)).transpose(1, 2)
        key = self.k_norm(self.k_proj(x).view(split)).transpose(1, 2)
        if angles is not None:
            query, key = rotate(query, *angles), rotate(key, *angles)
        value = self.v_proj(x).view(split).transpose(1, 2).float()
        is_causal = cache is None and mask is None
        if cache is not None:
            keys, values = cache.keys[self.layer], cache.values[self.layer]
            rows = torch.arange(batch)[:, None]
            keys[rows, :, positions] = key.transpose(1, 2)
            values[rows, :, positions] = value.transpose(1, 2)
            used = int(positions.max()) + 1
            key, value = keys[:, :, :used], values[:, :, :used]
            mask = (torch.arange(used) <= positions[:, :, None])[:, None]
        if length == 1:
            query = query.reshape(batch, -1, self.groups, self.head_dim)
        else:
            key = key.repeat_interleave(self.groups, dim=1)
            value = value.repeat_interleave(self.groups, dim=1)
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=is_causal)
        mixed = mixed.reshape(batch, -1, length, self.head_dim)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: Qwen3Config, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, angles: Angles | None, positions: Tensor, cache: Cache | None, mask: Tensor | None
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), angles, positions, cache, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.learned_positions:
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Qwen3(nn.Module):
    """The model: token ids [batch, length] to hidden states or logits."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.04 / (2 * config.num_hidden_layers) ** 0.5 if last else 0.04)

    def hidden(
        self, ids: Tensor, positions: Tensor | None = None, cache: Cache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the last hidden states [batch, length, hidden]; `positions` [batch, length] default to 0, 1, ...

        `mask` [batch or 1, 1, length, length] is True where a query (row) sees a key (column); None is causal.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1]).expand(ids.shape)
        x = self.model.embed_tokens(ids)
        angles = None
        if self.config.learned_positions:
            x = x + self.model.embed_positions(positions)
        else:
            size = self.config.head_dim
            frequencies = self.config.rope_theta ** (-torch.arange(0, size, 2).float() / size)
            turns = (positions[:, None, :, None] * frequencies).repeat(1, 1, 1, 2)
            angles = turns.cos(), turns.sin()
        for layer in self.model.layers:
            x = layer(x, angles, positions, cache, mask)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return float32 logits of `hidden` [..., hidden]."""
        return (hidden @ self.model.embed_tokens.weight.T).float()
