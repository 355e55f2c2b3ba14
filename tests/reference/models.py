"""Reference networks of the diffusion families in plain PyTorch, under the parameter names of their published files.

Each takes ids [batch, length] and a mask [length, length], true where a query (row) sees a key (column), and returns
logits [batch, length, vocab], not shifted. Nothing is shared with the engine; speed does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Sizes:
    """One network. Fields beyond the sizes are what a family has and others do not."""

    vocab: int = 96
    hidden: int = 48
    inner: int = 80
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    theta: float = 10000.0
    eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = False
    rotary_dim: int | None = None  # None: the whole head
    positions: int = 0  # rows of a learned table in place of rotary embeddings
    tied: bool = False
    experts: Experts | None = None


@dataclass
class Experts:
    count: int = 8
    per_token: int = 2
    inner: int = 24
    normalize: bool = True
    dense_layers: list[int] = field(default_factory=list)
    # Ling's router, in place of Qwen's softmax over all: sigmoid scores, a bias for the choice, groups.
    sigmoid: bool = False
    groups: int = 1
    top_groups: int = 1
    scale: float = 1.0
    shared: int = 0


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotated(x: Tensor, sizes: Sizes) -> Tensor:
    """x [batch, heads, length, head_dim] with its leading dimensions turned by position."""
    if sizes.positions:
        return x
    turning = sizes.rotary_dim or sizes.head_dim
    frequencies = sizes.theta ** (-torch.arange(0, turning, 2).float() / turning)
    angles = (torch.arange(x.shape[2]).float()[:, None] * frequencies).repeat(1, 2)
    head, rest = x[..., :turning], x[..., turning:]
    first, second = head.chunk(2, dim=-1)
    head = head * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()
    return torch.cat((head, rest), dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q [batch, heads, length, head_dim], k and v with fewer heads; [batch, length, heads * head_dim]."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    mixed = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2)


class GatedMlp(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    """The router; it gives each row the weight of every expert, zero for those that it does not go to."""

    def __init__(self, hidden: int, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.empty(experts.count, hidden))
        if experts.sigmoid:
            self.register_buffer("expert_bias", torch.zeros(experts.count))

    def forward(self, x: Tensor) -> Tensor:
        e = self.experts
        logits = x @ self.weight.T
        scores = logits.sigmoid() if e.sigmoid else logits.softmax(-1)
        choice = scores + self.expert_bias if e.sigmoid else scores
        if e.groups > 1:
            grouped = choice.unflatten(-1, (e.groups, -1))
            best = grouped.topk(2, dim=-1).values.sum(-1).topk(e.top_groups, dim=-1).indices
            kept = torch.zeros_like(grouped[..., 0], dtype=torch.bool).scatter(-1, best, True)
            choice = grouped.masked_fill(~kept[..., None], float("-inf")).flatten(-2)
        chosen = choice.topk(e.per_token, dim=-1).indices
        weights = scores.gather(-1, chosen)
        if e.normalize:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return torch.zeros_like(scores).scatter(-1, chosen, weights * e.scale)


class ExpertsMlp(nn.Module):
    def __init__(self, hidden: int, experts: Experts) -> None:
        super().__init__()
        self.gate = Gate(hidden, experts)
        self.experts = nn.ModuleList(GatedMlp(hidden, experts.inner) for _ in range(experts.count))
        if experts.shared:
            self.shared_experts = GatedMlp(hidden, experts.inner * experts.shared)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(x)
        out = sum(weights[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))
        return out + self.shared_experts(x) if hasattr(self, "shared_experts") else out


class QwenAttention(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=s.qkv_bias)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=s.qkv_bias)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=s.qkv_bias)
        self.o_proj = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        if s.qk_norm:
            self.q_norm, self.k_norm = RMSNorm(s.head_dim, s.eps), RMSNorm(s.head_dim, s.eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        s = self.sizes
        q, k, v = (p(x).unflatten(-1, (-1, s.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if s.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return self.o_proj(attend(rotated(q, s), rotated(k, s), v, mask))


class BailingAttention(nn.Module):
    """q, k and v in one matrix, head by head."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.query_key_value = nn.Linear(s.hidden, (s.heads + 2 * s.kv_heads) * s.head_dim, bias=False)
        self.dense = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.query_layernorm, self.key_layernorm = RMSNorm(s.head_dim, s.eps), RMSNorm(s.head_dim, s.eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        s = self.sizes
        heads = self.query_key_value(x).unflatten(-1, (-1, s.head_dim)).transpose(1, 2)
        q, k, v = heads.split([s.heads, s.kv_heads, s.kv_heads], dim=1)
        q, k = rotated(self.query_layernorm(q), s), rotated(self.key_layernorm(k), s)
        return self.dense(attend(q, k, v, mask))


class Layer(nn.Module):
    def __init__(self, s: Sizes, index: int, attention_name: str) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(s.hidden, s.eps)
        self.post_attention_layernorm = RMSNorm(s.hidden, s.eps)
        self.attention_name = attention_name
        self.add_module(attention_name, BailingAttention(s) if attention_name == "attention" else QwenAttention(s))
        has_experts = s.experts is not None and index not in s.experts.dense_layers
        self.mlp = ExpertsMlp(s.hidden, s.experts) if has_experts else GatedMlp(s.hidden, s.inner)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + getattr(self, self.attention_name)(self.input_layernorm(x), mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """Qwen2, Qwen3, Qwen3-MoE and Llama under transformers' names; LLaDA 2 under Ling's where `is_bailing`."""

    def __init__(self, s: Sizes, is_bailing: bool = False) -> None:
        super().__init__()
        self.sizes = s
        self.embedding_name = "word_embeddings" if is_bailing else "embed_tokens"
        self.model = nn.Module()
        self.model.add_module(self.embedding_name, nn.Embedding(s.vocab, s.hidden))
        if s.positions:
            self.model.embed_positions = nn.Embedding(s.positions, s.hidden)
        name = "attention" if is_bailing else "self_attn"
        self.model.layers = nn.ModuleList(Layer(s, i, name) for i in range(s.layers))
        self.model.norm = RMSNorm(s.hidden, s.eps)
        if not s.tied:
            self.lm_head = nn.Linear(s.hidden, s.vocab, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        embedding = getattr(self.model, self.embedding_name)
        x = embedding(ids)
        if self.sizes.positions:
            x = x + self.model.embed_positions(torch.arange(ids.shape[1]))
        for layer in self.model.layers:
            x = layer(x, mask)
        x = self.model.norm(x)
        return x @ embedding.weight.T if self.sizes.tied else self.lm_head(x)


class LladaBlock(nn.Module):
    """OLMo's Llama block: ff_proj is the gate."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.attn_norm, self.ff_norm = RMSNorm(s.hidden, s.eps), RMSNorm(s.hidden, s.eps)
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.attn_out = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.ff_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.ff_out = nn.Linear(s.inner, s.hidden, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        s, normed = self.sizes, self.attn_norm(x)
        q, k, v = (
            p(normed).unflatten(-1, (-1, s.head_dim)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        x = x + self.attn_out(attend(rotated(q, s), rotated(k, s), v, mask))
        normed = self.ff_norm(x)
        return x + self.ff_out(F.silu(self.ff_proj(normed)) * self.up_proj(normed))


class Llada(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        parts = {
            "wte": nn.Embedding(s.vocab, s.hidden),
            "blocks": nn.ModuleList(LladaBlock(s) for _ in range(s.layers)),
            "ln_f": RMSNorm(s.hidden, s.eps),
            "ff_out": nn.Linear(s.hidden, s.vocab, bias=False),
        }
        self.model = nn.ModuleDict({"transformer": nn.ModuleDict(parts)})

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        parts = self.model["transformer"]
        x = parts["wte"](ids)
        for block in parts["blocks"]:
            x = block(x, mask)
        return parts["ff_out"](parts["ln_f"](x))


def randomise(network: nn.Module, seed: int) -> nn.Module:
    """Fills every parameter and buffer so that logits differ clearly and no norm or bias is trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in [*network.named_parameters(), *network.named_buffers()]:
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name or "ln_f" in name:
                weight.copy_(1.0 + 0.2 * noise)
            elif weight.ndim == 1:
                weight.copy_(0.2 * noise)
            elif any(part in name for part in ("embed", "wte")):
                weight.copy_((0.3 if getattr(network, "sizes", Sizes()).tied else 0.5) * noise)
            else:
                weight.copy_(noise * 1.2 / weight.shape[-1] ** 0.5)
    return network.eval()
