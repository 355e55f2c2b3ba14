"""Which tensors a family's checkpoint must hold, by which names, and in which shapes.

The core knows them by canonical names: "embed", "positions", "final_norm", "lm_head" (absent when tied to "embed"), and
"layers.{i}." + attn_norm, q, k, v, o, q_bias, k_bias, v_bias, o_bias, q_norm, k_norm, post_attn_norm, mlp_norm, gate,
up, down, gate_bias, up_bias, down_bias, post_mlp_norm; in layers with experts, in place of gate, up and down: router,
router_bias, "experts.{e}." and "shared." + gate, up, down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from foresight._warn import warn_caller
from foresight.checkpoint.bailing import bailing_name, fused_part
from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.experts import ExpertsConfig
from foresight.checkpoint.fields import shown
from foresight.checkpoint.olmo import olmo_name
from foresight.checkpoint.safetensors import SafetensorsFile, TensorView
from foresight.errors import CheckpointError

__all__ = ["DECODERS", "Place", "expected_tensors", "select_weights", "spelled"]

Shape = tuple[int, ...]

# From transformers' name of a tensor to the file's.
_SPELLINGS: dict[str, Callable[[str], str]] = {"hf": str, "olmo": olmo_name, "bailing": bailing_name}

# Where the decoder and its head lie in the file: a language model, the text part of a vision-language model (older and
# newer spelling), a bare decoder.
_PREFIXES = (
    ("model.", ""),
    ("language_model.model.", "language_model."),
    ("model.language_model.", ""),
    ("", ""),
)

DECODERS = tuple(decoder for decoder, _ in _PREFIXES)

# Tensors beside those expected that mean nothing for text: derived tables, the vision part.
_HARMLESS = re.compile(
    r"(.*\.)?rotary_emb\..*|(model\.)?(vision_tower|vision_model|multi_modal_projector)\..*|(.*\.)?masked_bias"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor of the core lies: rows [first_row, first_row + shape[0]) of one of the decoder's tensors."""

    canonical: str
    name: str  # inside the decoder
    shape: Shape
    first_row: int = 0
    whole: Shape = ()  # of the tensor in the file, where `shape` is a part of it

    @property
    def file_shape(self) -> Shape:
        """The shape that the file's tensor must have."""
        return self.whole or self.shape


def expected_tensors(config: ModelConfig) -> Iterator[Place]:
    """The place of every tensor, the head excepted."""
    for canonical, name, shape in _tensors(config):
        if config.layout == "bailing" and (part := fused_part(config.num_heads, config.num_kv_heads, name)):
            first, total = (heads * config.head_dim for heads in part)
            yield Place(canonical, spelled(config, name), shape, first, (total, *shape[1:]))
        else:
            yield Place(canonical, spelled(config, name), shape)


def spelled(config: ModelConfig, name: str) -> str:
    """The file's name of the tensor that transformers' Llama calls `name`."""
    return _SPELLINGS[config.layout](name)


def _tensors(config: ModelConfig) -> Iterator[tuple[str, str, Shape]]:
    """(canonical name, name in transformers' spelling, shape)."""
    hidden = config.hidden_size
    yield "embed", "embed_tokens.weight", (config.vocab_size, hidden)
    yield "final_norm", "norm.weight", (hidden,)
    if config.learned_positions:
        yield "positions", "embed_positions.weight", (config.max_position_embeddings, hidden)
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    attention = [
        ("q", "self_attn.q_proj", query, hidden, config.attention_bias),
        ("k", "self_attn.k_proj", key, hidden, config.attention_bias),
        ("v", "self_attn.v_proj", key, hidden, config.attention_bias),
        ("o", "self_attn.o_proj", hidden, query, config.output_bias),
    ]
    norms = [("attn_norm", "input_layernorm", hidden)]
    if config.post_norms:
        norms += [
            ("post_attn_norm", "post_attention_layernorm", hidden),
            ("mlp_norm", "pre_feedforward_layernorm", hidden),
            ("post_mlp_norm", "post_feedforward_layernorm", hidden),
        ]
    else:
        norms.append(("mlp_norm", "post_attention_layernorm", hidden))
    if config.qk_norm:
        norms += [
            ("q_norm", "self_attn.q_norm", config.head_dim),
            ("k_norm", "self_attn.k_norm", config.head_dim),
        ]
    for i in range(config.num_layers):
        layer = f"layers.{i}."
        for name, module, size in norms:
            yield layer + name, f"{layer}{module}.weight", (size,)
        for name, module, rows, columns, bias in attention:
            yield layer + name, f"{layer}{module}.weight", (rows, columns)
            if bias:
                yield f"{layer}{name}_bias", f"{layer}{module}.bias", (rows,)
        if config.experts is not None and config.experts.layers[i]:
            yield from _expert_tensors(config.experts, hidden, layer)
        else:
            yield from _mlp_tensors(hidden, config.intermediate_size, layer, f"{layer}mlp.", config.mlp_bias)


def _mlp_tensors(hidden: int, inner: int, ours: str, theirs: str, bias: bool) -> Iterator[tuple[str, str, Shape]]:
    for name, rows, columns in (("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)):
        yield ours + name, f"{theirs}{name}_proj.weight", (rows, columns)
        if bias:
            yield f"{ours}{name}_bias", f"{theirs}{name}_proj.bias", (rows,)


def _expert_tensors(experts: ExpertsConfig, hidden: int, layer: str) -> Iterator[tuple[str, str, Shape]]:
    yield layer + "router", f"{layer}mlp.gate.weight", (experts.num_experts, hidden)
    if experts.choice_bias:
        yield layer + "router_bias", f"{layer}mlp.gate.expert_bias", (experts.num_experts,)
    for e in range(experts.num_experts):
        name = f"experts.{e}."
        yield from _mlp_tensors(hidden, experts.intermediate_size, layer + name, f"{layer}mlp.{name}", False)
    if experts.shared_intermediate_size:
        shared = experts.shared_intermediate_size
        yield from _mlp_tensors(hidden, shared, layer + "shared.", f"{layer}mlp.shared_experts.", False)


def select_weights(config: ModelConfig, files: Mapping[str, SafetensorsFile], source: str) -> dict[str, TensorView]:
    """The expected tensors by canonical name.

    The result has a "lm_head" unless it is the embedding; as in transformers, a head that is in the file and differs
    from the embedding is used even if the config ties them. Raises CheckpointError naming file, tensor, expected and
    found shape; warns about tensors that are not expected.
    """
    norm = spelled(config, "norm.weight")
    decoder, head = next((pair for pair in _PREFIXES if pair[0] + norm in files), _PREFIXES[0])
    if config.layout == "olmo":
        head = decoder  # the head is one of the decoder's modules
    head_name = head + spelled(config, "lm_head.weight")
    embed_name = decoder + spelled(config, "embed_tokens.weight")
    if config.tie_word_embeddings and embed_name not in files and head_name in files:
        embed_name = head_name
    views, used = {}, {head_name}
    for place in expected_tensors(config):
        name = embed_name if place.canonical == "embed" else decoder + place.name
        whole = _view(files, name, place.file_shape, source)
        views[place.canonical] = whole.rows(place.first_row, place.shape[0]) if place.whole else whole
        used.add(name)
    if not config.tie_word_embeddings or (head_name in files and head_name != embed_name):
        lm_head = _view(files, head_name, (config.vocab_size, config.hidden_size), source)
        if not config.tie_word_embeddings or _differ(views["embed"], lm_head):
            views["lm_head"] = lm_head
        if config.tie_word_embeddings and "lm_head" in views:
            warn_caller(
                f"{source}: tie_word_embeddings is set, but {head_name} differs from {embed_name}: they stay apart"
            )
    unexpected = sorted(name for name in files if name not in used and not _HARMLESS.fullmatch(name))
    if unexpected:
        listed = ", ".join(shown(name) for name in unexpected[:8]) + (", ..." if len(unexpected) > 8 else "")
        warn_caller(f"{source}: {len(unexpected)} tensors are not used: {listed}{_mtp_hint(unexpected, config)}")
    return views


def _mtp_hint(unexpected: list[str], config: ModelConfig) -> str:
    from foresight.checkpoint.heads import mtp  # which reads heads by this module's names

    spelling = mtp.find(unexpected, config.num_layers)
    if spelling is None or not mtp.suits(config):
        return ""
    count = sum(mtp.is_of_layer(name, spelling) for name in unexpected)
    return f"; {count} of them are an MTP layer, which fs.Speculative(fs.DraftHead()) drafts with"


def _view(files: Mapping[str, SafetensorsFile], name: str, shape: Shape, source: str) -> TensorView:
    file = files.get(name)
    if file is None:
        raise CheckpointError(f"{source}: has no tensor {name!r}, expected one of shape {list(shape)}")
    found = file.infos[name].shape
    if found != shape:
        raise CheckpointError(
            f"{file.path}: tensor {name!r} has shape {list(found)}, expected {list(shape)} by config.json"
        )
    return file.view(name)


def _differ(one: TensorView, other: TensorView) -> bool:
    return one.dtype != other.dtype or not np.array_equal(one.array, other.array)
