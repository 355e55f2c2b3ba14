"""The parts that draft heads are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor


class Tensors(dict[str, Tensor]):
    """A folder's tensors as float32 (integers as they are), and its config.json."""

    def __init__(self, folder: Path) -> None:
        loaded = load_file(folder / "model.safetensors")
        super().__init__({k: v.float() if v.is_floating_point() else v for k, v in loaded.items()})
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.layer_config: dict[str, Any] = self.config.get("transformer_layer_config", self.config)

    def norm(self, name: str, x: Tensor) -> Tensor:
        eps = self.layer_config["rms_norm_eps"]
        return self[name + ".weight"] * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self[name + ".weight"], self.get(name + ".bias"))

    def mlp(self, name: str, x: Tensor) -> Tensor:
        gate, up = self.linear(f"{name}.gate_proj", x), self.linear(f"{name}.up_proj", x)
        return self.linear(f"{name}.down_proj", F.silu(gate) * up)

    def heads(self, name: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """x [n, inputs] -> [heads, n, head_dim], normed where the layer does so and rotated by positions."""
        dim = self.layer_config["head_dim"]
        out = self.linear(name, x).view(len(x), -1, dim)
        norm = name.replace("_proj", "_norm")
        if norm + ".weight" in self:
            out = self.norm(norm, out)
        out = out.transpose(0, 1)
        return out if positions is None else self._rotate(out, positions)

    def _rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        rope = self.layer_config.get("rope_parameters") or self.layer_config
        theta = rope["rope_theta"]
        angles = positions[:, None].float() * theta ** (-torch.arange(half).float() / half)
        cos, sin = angles.cos(), angles.sin()
        first, second = x[..., :half], x[..., half:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def attention(self, name: str, x: Tensor, positions: Tensor, sees: Tensor, context: Tensor | None = None) -> Tensor:
        """Rows x [n, inputs] that see keys where sees [n, keys] is set; the keys are those of `context` [c, inputs], at
        positions 0 .. c - 1 of `positions` [c + n], and then their own.
        """
        keys = x if context is None else torch.cat([context, x])
        q = self.heads(f"{name}.q_proj", x, positions[-len(x) :])
        k, v = self.heads(f"{name}.k_proj", keys, positions), self.heads(f"{name}.v_proj", keys, None)
        repeats = len(q) // len(k)
        k, v = k.repeat_interleave(repeats, 0), v.repeat_interleave(repeats, 0)
        scores = (q @ k.transpose(1, 2)) / q.shape[-1] ** 0.5
        mixed = scores.masked_fill(~sees, float("-inf")).softmax(-1) @ v
        return self.linear(f"{name}.o_proj", mixed.transpose(0, 1).reshape(len(x), -1))


def causal(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool).tril()
