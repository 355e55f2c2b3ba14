"""DFlash heads (z-lab, arXiv 2602.06036) and DSpark heads (deepseek-ai/DeepSpec, arXiv 2607.05147), in their own
formats and in vllm-project/speculators' (speculators_model_type "dflash" and "dspark").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.fields import Fields, shown
from foresight.checkpoint.heads.head import (
    DraftHeadConfig,
    HeadCheckpoint,
    HeadTensors,
    checked_layers,
    head_model,
    to_target,
)
from foresight.checkpoint.safetensors import SafetensorsFile
from foresight.errors import CheckpointError

__all__ = ["read"]

_MARKOV = ("vanilla", "gated", "rnn")
_MAX_BLOCK = 1024


def read(
    raw: Mapping[str, Any], files: Mapping[str, SafetensorsFile], folder: Path, target: ModelConfig
) -> HeadCheckpoint:
    """Raises as `load_head` does."""
    source = str(folder / "config.json")
    top = Fields(raw, source)
    inner = top.child("dflash_config")
    # Newer files have their own fields in dflash_config, which go first.
    fields = Fields({**raw, **{name: value for name, value in inner.raw.items() if value is not None}}, source)
    stated = top.text("speculators_model_type", "")
    _refuse(raw, fields, files, source)
    layer = top.child("transformer_layer_config") if top.has("transformer_layer_config") else top
    tensors = HeadTensors(files, folder)
    vocab = top.integer("draft_vocab_size", layer.integer("vocab_size", maximum=2**24), maximum=2**24)
    model = head_model(layer.raw, source, tensors, "layers.0.", target, vocab)
    if model.hidden_size != target.hidden_size:
        raise ValueError(
            f"{source}: hidden_size is {model.hidden_size}, but the target model has hidden_size {target.hidden_size}"
        )
    layers = _target_layers(fields, stated, target, source)
    mask = fields.token_id("mask_token_id")
    if mask is None:
        raise fields.error("mask_token_id", "a token id")
    if mask >= target.vocab_size:
        raise ValueError(f"{source}: mask_token_id is {mask}, but the target model has {target.vocab_size} tokens")
    default_block = {"dflash": 8, "dspark": 8}.get(stated, 16)
    block = fields.integer("block_size", default_block, minimum=2, maximum=_MAX_BLOCK)
    hidden = model.hidden_size
    qk_norm = tensors.find("layers.0.self_attn.q_norm.weight") is not None
    tensors.take("fc", "fc.weight", (hidden, len(layers) * hidden))
    tensors.take("feature_norm", "hidden_norm.weight", (hidden,))
    tensors.take("final_norm", "norm.weight", (hidden,))
    for i in range(model.num_layers):
        tensors.take(f"layers.{i}.attn_norm", f"layers.{i}.input_layernorm.weight", (hidden,))
        tensors.take_layer(i, f"layers.{i}.", model, qk_norm=qk_norm, num_inputs=hidden)
    tensors.take_ends(model, target)
    markov, rank = _markov(fields, tensors, model)
    # DeepSpec's own files are read from the anchor on; speculators' say so.
    is_spark = "dspark" in " ".join(map(str, raw.get("architectures") or ())).lower()
    predicts_next = fields.flag("sample_from_anchor", is_spark and not stated)
    config = DraftHeadConfig(
        kind="dflash",
        model=model,
        qk_norm=qk_norm,
        target_layers=layers,
        target_hidden_size=target.hidden_size,
        target_vocab_size=target.vocab_size,
        block_length=block,
        mask_token=mask,
        predicts_next=predicts_next,
        causal=_causal(fields, stated, is_spark, model),
        markov=markov,
        markov_rank=rank,
    )
    return HeadCheckpoint(folder, config, tensors.views, to_target(tensors, vocab, target, source))


def _refuse(raw: Mapping[str, Any], fields: Fields, files: Mapping[str, SafetensorsFile], source: str) -> None:
    if any("attention_conv" in name or name.startswith("candidate_selector.") for name in files):
        raise NotImplementedError(f"{source}: DFlash 2 (convolutions, a candidate selector) is not supported")
    if raw.get("projector_type", "dflash") != "dflash":
        raise NotImplementedError(f"{source}: projector_type {shown(raw['projector_type'])} is not supported")
    for name, neutral in (("output_multiplier", 1.0), ("final_logit_softcapping", 0.0), ("input_embedding_scale", 1.0)):
        value = fields.raw.get(name)
        if value is not None and value != neutral:
            raise NotImplementedError(f"{source}: {name}={shown(value)} is not supported")
    if fields.flag("shift_label", False):
        raise NotImplementedError(f"{source}: shift_label is not supported")


def _target_layers(fields: Fields, stated: str, target: ModelConfig, source: str) -> tuple[int, ...]:
    """z-lab and DeepSpec name the layer that gives a state, from 0 (-1: the embedding); speculators counts the layers
    before it. The last layer's state comes after the final norm, as in transformers' hidden_states.
    """
    name, offset = ("aux_hidden_state_layer_ids", 0) if stated else ("target_layer_ids", 1)
    value = fields.raw.get(name)
    if not isinstance(value, list):
        raise fields.error(name, "a list of layer ids")
    return checked_layers(value, target, source, name, offset=offset, last_is_normed=True)


def _causal(fields: Fields, stated: str, is_spark: bool, model: ModelConfig) -> tuple[bool, ...]:
    """In z-lab's files sliding layers are causal unless is_causal says something else; DeepSpec's layers never are."""
    sliding = tuple(kind == "sliding_attention" for kind in model.layer_types)
    if stated:
        return tuple(s and not fields.flag("sliding_window_non_causal", False) for s in sliding)
    if is_spark:
        return (False,) * model.num_layers
    if fields.has("is_causal"):
        return (fields.flag("is_causal", False),) * model.num_layers
    return sliding


def _markov(fields: Fields, tensors: HeadTensors, model: ModelConfig) -> tuple[str, int]:
    rank = fields.integer("markov_rank", 0, minimum=0, maximum=65536)
    if rank == 0:
        return "", 0
    kind = fields.text("markov_head_type", "vanilla").lower()
    if kind not in _MARKOV:
        raise CheckpointError(
            f"{fields.source}: field 'markov_head_type' is {shown(kind)}, expected one of {', '.join(_MARKOV)}"
        )
    vocab, hidden = model.vocab_size, model.hidden_size
    tensors.take("markov.w1", "markov_head.markov_w1.weight", (vocab, rank))
    tensors.take("markov.w2", "markov_head.markov_w2.weight", (vocab, rank))
    if kind == "gated":
        tensors.take("markov.gate", "markov_head.gate_proj.weight", (rank, hidden + rank))
        tensors.take("markov.gate_bias", "markov_head.gate_proj.bias", (rank,))
    elif kind == "rnn":
        tensors.take("markov.joint", "markov_head.joint_proj.weight", (3 * rank, 2 * rank + hidden))
        tensors.take("markov.joint_bias", "markov_head.joint_proj.bias", (3 * rank,))
    return kind, rank
