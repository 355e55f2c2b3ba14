"""ModelConfig as the plain dict that `foresight._core.Engine` takes."""

from __future__ import annotations

from typing import Any

from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.rope import RopeConfig, inverse_frequencies

__all__ = ["core_config"]

_COPIED = (
    "family",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "rms_norm_eps",
    "activation",
    "embedding_scale",
    "attention_scale",
    "tie_word_embeddings",
    "attention_bias",
    "output_bias",
    "mlp_bias",
)


def core_config(config: ModelConfig) -> dict[str, Any]:
    """The fields that the core computes with; rotary frequencies are worked out here, per layer type."""
    fields: dict[str, Any] = {name: getattr(config, name) for name in _COPIED}
    fields["sliding_window"] = config.sliding_window or 0
    fields["layer_types"] = list(config.layer_types)
    fields["rope"] = {kind: _core_rope(rope, config.head_dim) for kind, rope in config.rope.items()}
    return fields


def _core_rope(rope: RopeConfig, head_dim: int) -> dict[str, Any]:
    frequencies, attention_factor = inverse_frequencies(rope, head_dim)
    return {
        "inverse_frequencies": [float(value) for value in frequencies],
        "attention_factor": float(attention_factor),
        "dynamic": rope.type == "dynamic",
        "theta": rope.theta,
        "factor": rope.factor,
        "original_length": rope.original_max_position_embeddings,
    }
