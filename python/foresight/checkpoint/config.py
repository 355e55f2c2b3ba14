"""config.json, as transformers 4.x and 5.x write it, read into one typed description of the model.

4.x spells rotary embeddings `rope_theta`, `rope_scaling` (and `rope_local_base_freq` for gemma3), the dtype
`torch_dtype` and sliding layers by a pattern; 5.x spells them `rope_parameters` (nested where layer types differ),
`dtype` and `layer_types`. Defaults of absent fields are those of the family's class in transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foresight.checkpoint.experts import ExpertsConfig, parse_experts
from foresight.checkpoint.families import FAMILIES
from foresight.checkpoint.family import Family
from foresight.checkpoint.fields import Fields, shown
from foresight.checkpoint.layers import parse_layers, parse_ropes
from foresight.checkpoint.olmo import with_hf_names
from foresight.checkpoint.reading import Surroundings, read_reading
from foresight.checkpoint.rope import RopeConfig

__all__ = ["ModelConfig", "parse_config", "with_dtype"]

_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
_DTYPES = ("float32", "bfloat16", "float16")

# Fields of relatives of the supported families. Set, they change what the model computes.
_UNSUPPORTED = (
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_bidirectional_attention",
    "alibi",
    "attention_chunk_size",
    "residual_multiplier",
    "logits_scaling",
)
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that the core needs to know about a checkpoint besides its tensors; this is `lm.config`."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    activation: str  # "silu" | "gelu_tanh"
    max_position_embeddings: int
    tie_word_embeddings: bool
    attention_bias: bool  # of the q, k and v projections
    output_bias: bool  # of the o projection
    mlp_bias: bool
    qk_norm: bool
    norm_plus_one: bool  # norms multiply by 1 + weight
    post_norms: bool  # norms also after attention and after the mlp
    embedding_scale: float  # rounded to dtype
    attention_scale: float
    sliding_window: int | None
    layer_types: tuple[str, ...]  # "full_attention" | "sliding_attention", one per layer
    rope: dict[str, RopeConfig] = field(hash=False)  # by layer type
    dtype: str  # of the stored weights: "float32" | "bfloat16" | "float16"
    eos_token_ids: tuple[int, ...] = ()
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    mask_token_id: int | None = None
    attention: str = "causal"
    shifted: bool = True  # the row at position p predicts position p + 1
    block_length: int | None = None
    sub_block_length: int | None = None  # what a block is decoded by, for families that split blocks
    learned_positions: bool = False  # a table of position embeddings in place of rotary ones
    rotary_dim: int = 0  # how many leading dimensions of a head turn; 0: none
    experts: ExpertsConfig | None = None
    has_adapter: bool = False  # a LoRA adapter lies beside the weights, for the rows that ask for it
    adapter_scale: float = 0.0
    model_type: str = ""  # as config.json spells it; several may share a family
    layout: str = "hf"  # how the file names its tensors: "hf" | "olmo" | "bailing"


def parse_config(
    raw: Mapping[str, Any],
    generation_config: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    source: str = "config.json",
    around: Surroundings | None = None,
) -> ModelConfig:
    """The typed description that a parsed config.json gives.

    `generation_config` is the content of generation_config.json, whose special tokens go first; `overrides` is what
    the user states about things that files do not say; `around` is what else may tell. Raises CheckpointError for
    fields that are missing, of the wrong type or out of range; NotImplementedError for a family or a feature that is
    not built; ValueError for overrides that do not exist or do not fit.
    """
    around = around or Surroundings()
    top = Fields(raw, source)
    family = _family(top)
    if family.layout == "olmo":
        top = with_hf_names(top)
    fields = top.child("text_config") if family.text_inside else top
    _refuse_unsupported(top, fields, family)

    num_layers = fields.integer("num_hidden_layers", family.default("num_hidden_layers"), maximum=4096)
    hidden_size = fields.integer("hidden_size", family.default("hidden_size"), maximum=2**20)
    num_heads = fields.integer("num_attention_heads", family.default("num_attention_heads"), maximum=65536)
    absent_kv_heads = num_heads if "num_key_value_heads" in fields.raw else family.num_key_value_heads
    num_kv_heads = fields.integer("num_key_value_heads", absent_kv_heads or num_heads, maximum=65536)
    if num_heads % num_kv_heads:
        raise fields.error("num_key_value_heads", f"a divisor of num_attention_heads, {num_heads}")
    head_dim = _head_dim(fields, family, hidden_size, num_heads)
    max_positions = fields.integer("max_position_embeddings", family.max_position_embeddings)
    sliding_window, layer_types = parse_layers(fields, family, num_layers)
    dtype = _dtype(top if top.has("dtype") or top.has("torch_dtype") else fields)
    ropes = parse_ropes(fields, family, layer_types, max_positions, head_dim)
    learned = family.states_reading and fields.flag("learned_positions", False)
    attention_bias, output_bias = _biases(fields, family)
    scalar = fields.number("query_pre_attn_scalar", 256.0, above=1e-6) if family.name == "gemma3" else float(head_dim)
    tied = fields.flag("tie_word_embeddings", family.tie_word_embeddings)
    vocab_size = fields.integer("vocab_size", family.default("vocab_size"), maximum=2**24)
    special = Fields(generation_config or {}, source.replace("config.json", "generation_config.json"))
    return ModelConfig(
        family=family.name,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=fields.integer("intermediate_size", family.default("intermediate_size"), maximum=2**22),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        rms_norm_eps=fields.number("rms_norm_eps", family.rms_norm_eps, maximum=1.0),
        activation=_activation(fields, family),
        max_position_embeddings=max_positions,
        tie_word_embeddings=top.flag("tie_word_embeddings", tied),
        attention_bias=attention_bias,
        output_bias=output_bias,
        mlp_bias=family.mlp_bias_field and fields.flag("mlp_bias", False),
        qk_norm=family.qk_norm,
        norm_plus_one=family.norm_plus_one,
        post_norms=family.post_norms,
        embedding_scale=_embedding_scale(family.name, hidden_size, dtype or "float32"),
        attention_scale=scalar**-0.5,
        sliding_window=sliding_window,
        layer_types=layer_types,
        rope=ropes,
        dtype=dtype or "float32",
        eos_token_ids=special.token_ids("eos_token_id") or _eos_token_ids(top, fields, family),
        pad_token_id=_special_id("pad_token_id", family.pad_token_id, special, top, fields),
        bos_token_id=_special_id("bos_token_id", family.bos_token_id, special, top, fields),
        learned_positions=learned,
        rotary_dim=0 if learned else _rotary_dim(fields, ropes, head_dim),
        experts=parse_experts(fields, family, num_layers),
        has_adapter=around.has_adapter,
        model_type=top.text("model_type"),
        layout=family.layout,
        **read_reading(fields, family, overrides or {}, vocab_size, around),
    )


def with_dtype(config: ModelConfig, dtype: str) -> ModelConfig:
    """The same model with weights of another dtype, to which gemma3's embedding scale is rounded."""
    scale = _embedding_scale(config.family, config.hidden_size, dtype)
    return dataclasses.replace(config, dtype=dtype, embedding_scale=scale)


def _family(top: Fields) -> Family:
    model_type = top.text("model_type")
    if model_type not in FAMILIES:
        own_code = " and comes with code of its own (auto_map), which is never run" if top.has("auto_map") else ""
        raise NotImplementedError(
            f"{top.source}: model_type {shown(model_type)} is not supported{own_code}; supported are"
            f" {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]


def _refuse_unsupported(top: Fields, fields: Fields, family: Family) -> None:
    quantization = top.raw.get("quantization_config") or fields.raw.get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise NotImplementedError(
            f"{top.source}: weights quantised by {shown(method)} are not supported; load the original checkpoint"
        )
    for name in _UNSUPPORTED if family.experts else (*_UNSUPPORTED, *_EXPERTS):
        if fields.raw.get(name):
            raise NotImplementedError(f"{top.source}: {name}={shown(fields.raw[name])} is not supported")


def _head_dim(fields: Fields, family: Family, hidden_size: int, num_heads: int) -> int:
    if not fields.has("head_dim") and family.head_dim is None and hidden_size % num_heads:
        raise fields.error("num_attention_heads", f"a divisor of hidden_size, {hidden_size}, or a head_dim")
    head_dim = fields.integer("head_dim", family.head_dim or max(hidden_size // num_heads, 1), maximum=8192)
    if head_dim % 2:
        raise fields.error(
            "head_dim" if fields.has("head_dim") else "num_attention_heads",
            f"an even head_dim, not {head_dim}",
        )
    return head_dim


def _rotary_dim(fields: Fields, ropes: Mapping[str, RopeConfig], head_dim: int) -> int:
    factor = min(rope.partial_rotary_factor for rope in ropes.values())
    rotary_dim = int(head_dim * factor)
    if factor > 1.0 or rotary_dim < 2 or rotary_dim % 2:
        raise fields.error("partial_rotary_factor", f"an even part of head_dim, {head_dim}")
    return rotary_dim


def _biases(fields: Fields, family: Family) -> tuple[bool, bool]:
    """Whether q, k and v have biases, and whether o has one."""
    if family.layout == "bailing":
        return fields.flag("use_qkv_bias", False), fields.flag("use_bias", True)
    stated = family.attention_bias_field and fields.flag("attention_bias", False)
    return family.qkv_bias or stated, stated


def _activation(fields: Fields, family: Family) -> str:
    name = "hidden_activation" if family.name == "gemma3" else "hidden_act"
    value = fields.text(name, "gelu_pytorch_tanh" if family.name == "gemma3" else "silu")
    if value not in _ACTIVATIONS:
        raise NotImplementedError(
            f"{fields.source}: {name} {shown(value)} is not supported; supported are {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[value]


def _dtype(fields: Fields) -> str | None:
    name = "dtype" if fields.has("dtype") else "torch_dtype"
    if not fields.has(name):
        return None
    value = fields.text(name).removeprefix("torch.")
    if value not in _DTYPES:
        raise fields.error(name, f"one of {', '.join(_DTYPES)}")
    return value


def _embedding_scale(family: str, hidden_size: int, dtype: str) -> float:
    """gemma3 multiplies embeddings by sqrt(hidden_size), held in the dtype of the weights; the others by one."""
    if family != "gemma3":
        return 1.0
    scale = np.float32(hidden_size**0.5)
    if dtype == "float16":
        return float(np.float16(scale))
    if dtype == "bfloat16":
        bits = int(scale.view(np.uint32))
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000  # to nearest, ties to even
        return float(np.uint32(bits).view(np.float32))
    return float(scale)


def _eos_token_ids(top: Fields, fields: Fields, family: Family) -> tuple[int, ...]:
    for place in (top, fields):
        if "eos_token_id" in place.raw:
            return place.token_ids("eos_token_id")
    return () if family.eos_token_id is None else (family.eos_token_id,)


def _special_id(name: str, default: int | None, *places: Fields) -> int | None:
    """A special token id from the first place that states it; one that states null ends the search."""
    for place in places:
        if place.has(name):
            return place.token_id(name)
    return None if any(name in place.raw for place in places) else default
