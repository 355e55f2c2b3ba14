"""Random checkpoints in the format of the Hugging Face hub: config.json and model.safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen3 model with tied embeddings."""

    name: str
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes as transformers spells them, in the order of the forward."""
        hidden = self.hidden_size
        q_size, kv_size = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        yield "model.embed_tokens.weight", (self.vocab_size, hidden)
        for layer in range(self.num_layers):
            prefix = f"model.layers.{layer}."
            yield prefix + "input_layernorm.weight", (hidden,)
            yield prefix + "self_attn.q_proj.weight", (q_size, hidden)
            yield prefix + "self_attn.k_proj.weight", (kv_size, hidden)
            yield prefix + "self_attn.v_proj.weight", (kv_size, hidden)
            yield prefix + "self_attn.q_norm.weight", (self.head_dim,)
            yield prefix + "self_attn.k_norm.weight", (self.head_dim,)
            yield prefix + "self_attn.o_proj.weight", (hidden, q_size)
            yield prefix + "post_attention_layernorm.weight", (hidden,)
            yield prefix + "mlp.gate_proj.weight", (self.intermediate_size, hidden)
            yield prefix + "mlp.up_proj.weight", (self.intermediate_size, hidden)
            yield prefix + "mlp.down_proj.weight", (hidden, self.intermediate_size)
        yield "model.norm.weight", (hidden,)

    @property
    def num_parameters(self) -> int:
        """The tied embedding counted once."""
        return sum(math.prod(shape) for _, shape in self.tensors())


QWEN3_06B = Shape("qwen3-0.6b", 1024, 28, 16, 8, 128, 3072, 151936)
TINY = Shape("tiny", 64, 2, 4, 2, 16, 128, 512)


def ensure_checkpoint(folder: Path, shape: Shape, seed: int = 0) -> Path:
    """The random checkpoint of this shape and seed inside `folder`, written when it is not there."""
    target = folder / f"{shape.name}-random-bf16-{seed}"
    if not (target / "config.json").exists():
        target.mkdir(parents=True, exist_ok=True)
        _write_safetensors(target / "model.safetensors", shape, np.random.default_rng(seed))
        # Last: its presence says that the rest is complete.
        (target / "config.json").write_text(json.dumps(_config(shape), indent=2))
    return target


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": 40960,
        "num_attention_heads": shape.num_heads,
        "num_hidden_layers": shape.num_layers,
        "num_key_value_heads": shape.num_kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocab_size,
    }


def _write_safetensors(path: Path, shape: Shape, rng: np.random.Generator) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, sizes in shape.tensors():
        begin, end = end, end + 2 * math.prod(sizes)
        header[name] = {"dtype": "BF16", "shape": sizes, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, sizes in shape.tensors():
            values = np.ones(sizes, np.float32)
            if len(sizes) > 1:
                values = rng.standard_normal(sizes, np.float32) * np.float32(0.02)
            file.write(to_bfloat16(values).tobytes())
