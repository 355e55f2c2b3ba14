"""A ModelConfig as the plain dict that the core is built from."""

from __future__ import annotations

import dataclasses
from typing import Any

from foresight.checkpoint import ModelConfig, inverse_frequencies

__all__ = ["core_config"]


def core_config(config: ModelConfig) -> dict[str, Any]:
    """Every field by name; `rope` holds, per layer type, what the core's RopeConfig holds, the inverse
    frequencies (float32 [rotary_dim / 2]) being those up to the original length; `experts` is None or likewise a dict.
    """
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    ropes = {}
    for layer_type, rope in config.rope.items():
        frequencies, attention_factor = inverse_frequencies(rope, config.rotary_dim) if config.rotary_dim else ([], 1.0)
        ropes[layer_type] = {
            "inverse_frequencies": frequencies,
            "attention_factor": attention_factor,
            "dynamic": rope.type == "dynamic",
            "theta": rope.theta,
            "factor": rope.factor,
            "original_length": rope.original_max_position_embeddings,
        }
    positions = config.max_position_embeddings if config.learned_positions else 0
    mask = -1 if config.mask_token_id is None else config.mask_token_id
    return {
        **fields,
        "sliding_window": config.sliding_window or 0,
        "block_length": config.block_length or 0,
        "mask_token_id": mask,
        "num_learned_positions": positions,
        "experts": None if config.experts is None else dataclasses.asdict(config.experts),
        "rope": ropes,
    }
