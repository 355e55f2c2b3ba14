"""EAGLE-3 heads (Li et al. 2025, arXiv 2503.01840), as SafeAILab/EAGLE and sgl-project/SpecForge write them, and as
vllm-project/speculators does (speculators_model_type "eagle3": the layer's fields in transformer_layer_config).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.fields import Fields
from foresight.checkpoint.heads.head import (
    DraftHeadConfig,
    HeadCheckpoint,
    HeadTensors,
    checked_layers,
    head_model,
    to_target,
)
from foresight.checkpoint.safetensors import SafetensorsFile

__all__ = ["read"]

_AUX = "eagle_aux_hidden_state_layer_ids"
# Of later versions of the format; set, they change what the head computes.
_UNSUPPORTED = ("fc_norm", "norm_output", "parallel_drafting", "ptd_token_id")


def read(
    raw: Mapping[str, Any], files: Mapping[str, SafetensorsFile], folder: Path, target: ModelConfig
) -> HeadCheckpoint:
    """Raises as `load_head` does."""
    source = str(folder / "config.json")
    fields = Fields(raw, source)
    for name in _UNSUPPORTED:
        if raw.get(name):
            raise NotImplementedError(f"{source}: EAGLE-3 heads with {name} are not supported")
    layer = fields.child("transformer_layer_config") if fields.has("transformer_layer_config") else fields
    tensors = HeadTensors(files, folder)
    first = "midlayer." if tensors.find("midlayer.hidden_norm.weight") else "layers.0."
    vocab = fields.integer("draft_vocab_size", layer.integer("vocab_size", maximum=2**24), maximum=2**24)
    model = head_model(layer.raw, source, tensors, first, target, vocab)
    target_hidden = fields.integer("target_hidden_size", target.hidden_size, maximum=2**20)
    if target_hidden != target.hidden_size:
        raise ValueError(
            f"{source}: target_hidden_size is {target_hidden}, but the target model has hidden_size {target.hidden_size}"
        )
    qk_norm = tensors.find(f"{first}self_attn.q_norm.weight") is not None
    layers = _target_layers(fields, target, source)
    hidden = model.hidden_size
    fc = tensors.find("fc.weight")
    if fc is not None and (width := files[fc].infos[fc].shape[-1]) != len(layers) * target_hidden:
        raise ValueError(
            f"{files[fc].path}: fc.weight takes {width} numbers, but {len(layers)} layers of a target model with"
            f" hidden_size {target_hidden} give {len(layers) * target_hidden}"
        )
    tensors.take("fc", "fc.weight", (hidden, len(layers) * target_hidden))
    if tensors.find("fc.bias"):
        tensors.take("fc_bias", "fc.bias", (hidden,))
    before_fc = fields.flag("norm_before_fc", False)
    if before_fc:
        tensors.take("input_norm", "input_norm.weight", (len(layers) * target_hidden,))
    tensors.take("embed_norm", f"{first}input_layernorm.weight", (hidden,))
    tensors.take("feature_norm", f"{first}hidden_norm.weight", (hidden,))
    tensors.take("final_norm", "norm.weight", (hidden,))
    tensors.take_layer(0, first, model, qk_norm=qk_norm, num_inputs=2 * hidden)
    for i in range(1, model.num_layers):
        tensors.take(f"layers.{i}.attn_norm", f"layers.{i}.input_layernorm.weight", (hidden,))
        tensors.take_layer(i, f"layers.{i}.", model, qk_norm=qk_norm, num_inputs=hidden)
    tensors.take_ends(model, target)
    config = DraftHeadConfig(
        kind="eagle3",
        model=model,
        qk_norm=qk_norm,
        target_layers=layers,
        target_hidden_size=target_hidden,
        target_vocab_size=target.vocab_size,
        norm_before_residual=fields.flag("norm_before_residual", False),
        norm_before_fc=before_fc,
    )
    return HeadCheckpoint(folder, config, tensors.views, to_target(tensors, vocab, target, source))


def _target_layers(fields: Fields, target: ModelConfig, source: str) -> tuple[int, ...]:
    """Which states of the target: three, from low, middle and high layers.

    The field at the top counts as vLLM does (layers passed before the state), in eagle_config as SGLang does (the
    layer that gives it, from 0). EAGLE's own code takes the inputs of layers 2, n / 2 and n - 3.
    """
    inside = fields.child("eagle_config")
    if fields.has(_AUX):
        return checked_layers(fields.raw[_AUX], target, source, _AUX, offset=0, last_is_normed=False)
    if inside.has(_AUX):
        name = f"eagle_config.{_AUX}"
        return checked_layers(inside.raw[_AUX], target, source, name, offset=1, last_is_normed=False)
    count = target.num_layers
    if count < 6:
        raise ValueError(
            f"{source}: has no {_AUX}, and the usual three layers need a target model with at least 6, not {count}"
        )
    return (2, count // 2, count - 3)
