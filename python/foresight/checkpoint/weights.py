"""Which tensors a family's checkpoint must hold, by the names that transformers gives them, and in which shapes.

The core knows them by canonical names: "embed", "final_norm", "lm_head" (absent when tied to "embed"), and
"layers.{i}." + attn_norm, q, k, v, o, q_bias, k_bias, v_bias, o_bias, q_norm, k_norm, post_attn_norm, mlp_norm, gate,
up, down, gate_bias, up_bias, down_bias, post_mlp_norm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from foresight._warn import warn_caller
from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.fields import shown
from foresight.checkpoint.olmo import olmo_name
from foresight.checkpoint.safetensors import SafetensorsFile, TensorView
from foresight.errors import CheckpointError

__all__ = ["expected_tensors", "select_weights"]

Shape = tuple[int, ...]

# Where the decoder and its head lie in the file: a language model, the text part of a vision-language model (older and
# newer spelling), a bare decoder.
_PREFIXES = (
    ("model.", ""),
    ("language_model.model.", "language_model."),
    ("model.language_model.", ""),
    ("", ""),
)

# Tensors beside those expected that mean nothing for text: derived tables, the vision part.
_HARMLESS = re.compile(
    r"(.*\.)?rotary_emb\..*|(model\.)?(vision_tower|vision_model|multi_modal_projector)\..*|(.*\.)?masked_bias"
)


def expected_tensors(config: ModelConfig) -> Iterator[tuple[str, str, Shape]]:
    """(canonical name, name inside the decoder, shape) of every tensor, the head excepted."""
    hidden, inner = config.hidden_size, config.intermediate_size
    yield "embed", "embed_tokens.weight", (config.vocab_size, hidden)
    yield "final_norm", "norm.weight", (hidden,)
    if config.learned_positions:
        yield "positions", "embed_positions.weight", (config.max_position_embeddings, hidden)
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    projections = [
        ("q", "self_attn.q_proj", query, hidden, config.attention_bias),
        ("k", "self_attn.k_proj", key, hidden, config.attention_bias),
        ("v", "self_attn.v_proj", key, hidden, config.attention_bias),
        ("o", "self_attn.o_proj", hidden, query, config.output_bias),
        ("gate", "mlp.gate_proj", inner, hidden, config.mlp_bias),
        ("up", "mlp.up_proj", inner, hidden, config.mlp_bias),
        ("down", "mlp.down_proj", hidden, inner, config.mlp_bias),
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
        ours, theirs = f"layers.{i}.", f"layers.{i}."
        for name, module, size in norms:
            yield ours + name, f"{theirs}{module}.weight", (size,)
        for name, module, rows, columns, bias in projections:
            yield ours + name, f"{theirs}{module}.weight", (rows, columns)
            if bias:
                yield f"{ours}{name}_bias", f"{theirs}{module}.bias", (rows,)


def select_weights(config: ModelConfig, files: Mapping[str, SafetensorsFile], source: str) -> dict[str, TensorView]:
    """The expected tensors by canonical name.

    The result has a "lm_head" unless it is the embedding; as in transformers, a head that is in the file and differs
    from the embedding is used even if the config ties them. Raises CheckpointError naming file, tensor, expected and
    found shape; warns about tensors that are not expected.
    """
    spell = olmo_name if config.layout == "olmo" else str
    decoder, head = next(
        (pair for pair in _PREFIXES if pair[0] + spell("norm.weight") in files),
        _PREFIXES[0],
    )
    if config.layout == "olmo":
        head = decoder  # the head is one of the decoder's modules
    head_name, embed_name = head + spell("lm_head.weight"), decoder + spell("embed_tokens.weight")
    if config.tie_word_embeddings and embed_name not in files and head_name in files:
        embed_name = head_name
    views, used = {}, {head_name}
    for canonical, name, shape in expected_tensors(config):
        full = embed_name if canonical == "embed" else decoder + spell(name)
        views[canonical] = _view(files, full, shape, source)
        used.add(full)
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
        warn_caller(f"{source}: {len(unexpected)} tensors are not used: {listed}")
    return views


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
