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

from foresight.checkpoint.families import FAMILIES, Family
from foresight.checkpoint.fields import Fields, shown
from foresight.checkpoint.olmo import with_hf_names
from foresight.checkpoint.reading import read_reading
from foresight.checkpoint.rope import RopeConfig, parse_rope

__all__ = ["ModelConfig", "parse_config", "with_dtype"]

FULL, SLIDING = "full_attention", "sliding_attention"
_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
_DTYPES = ("float32", "bfloat16", "float16")

# Fields of relatives of the supported families. Set, they change what the model computes.
_UNSUPPORTED = (
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_bidirectional_attention",
    "alibi",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "attention_chunk_size",
    "residual_multiplier",
    "logits_scaling",
)


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
    learned_positions: bool = False  # a table of position embeddings in place of rotary ones
    layout: str = "hf"  # how the file names its tensors: "hf" | "olmo"


def parse_config(
    raw: Mapping[str, Any],
    generation_config: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    source: str = "config.json",
) -> ModelConfig:
    """The typed description that a parsed config.json gives.

    `generation_config` is the content of generation_config.json, whose special tokens go first; `overrides` is what
    the user states about things that files do not say. Raises CheckpointError for fields that are missing, of the
    wrong type or out of range; NotImplementedError for a family or a feature that is not built; ValueError for
    overrides that do not exist.
    """
    top = Fields(raw, source)
    family = _family(top)
    if family.layout == "olmo":
        top = with_hf_names(top)
    fields = top.child("text_config") if family.text_inside else top
    _refuse_unsupported(top, fields)

    num_layers = fields.integer("num_hidden_layers", family.default("num_hidden_layers"), maximum=4096)
    hidden_size = fields.integer("hidden_size", family.default("hidden_size"), maximum=2**20)
    num_heads = fields.integer("num_attention_heads", family.default("num_attention_heads"), maximum=65536)
    absent_kv_heads = num_heads if "num_key_value_heads" in fields.raw else family.num_key_value_heads
    num_kv_heads = fields.integer("num_key_value_heads", absent_kv_heads or num_heads, maximum=65536)
    if num_heads % num_kv_heads:
        raise fields.error("num_key_value_heads", f"a divisor of num_attention_heads, {num_heads}")
    head_dim = _head_dim(fields, family, hidden_size, num_heads)
    max_positions = fields.integer("max_position_embeddings", family.max_position_embeddings)
    sliding_window, layer_types = _layers(fields, family, num_layers)
    dtype = _dtype(top if top.has("dtype") or top.has("torch_dtype") else fields)
    biased = family.qkv_bias or (family.attention_bias_field and fields.flag("attention_bias", False))
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
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6, maximum=1.0),
        activation=_activation(fields, family),
        max_position_embeddings=max_positions,
        tie_word_embeddings=top.flag("tie_word_embeddings", tied),
        attention_bias=biased,
        output_bias=biased and family.attention_bias_field,
        mlp_bias=family.mlp_bias_field and fields.flag("mlp_bias", False),
        qk_norm=family.qk_norm,
        norm_plus_one=family.norm_plus_one,
        post_norms=family.post_norms,
        embedding_scale=_embedding_scale(family.name, hidden_size, dtype or "float32"),
        attention_scale=scalar**-0.5,
        sliding_window=sliding_window,
        layer_types=layer_types,
        rope=_ropes(fields, family, layer_types, max_positions, head_dim),
        dtype=dtype or "float32",
        eos_token_ids=special.token_ids("eos_token_id") or _eos_token_ids(top, fields, family),
        pad_token_id=_special_id("pad_token_id", family.pad_token_id, special, top, fields),
        bos_token_id=_special_id("bos_token_id", family.bos_token_id, special, top, fields),
        learned_positions=family.states_reading and fields.flag("learned_positions", False),
        layout=family.layout,
        **read_reading(fields, family, overrides or {}, vocab_size),
    )


def with_dtype(config: ModelConfig, dtype: str) -> ModelConfig:
    """The same model with weights of another dtype, to which gemma3's embedding scale is rounded."""
    scale = _embedding_scale(config.family, config.hidden_size, dtype)
    return dataclasses.replace(config, dtype=dtype, embedding_scale=scale)


def _family(top: Fields) -> Family:
    model_type = top.text("model_type")
    if model_type not in FAMILIES:
        raise NotImplementedError(
            f"{top.source}: model_type {shown(model_type)} is not supported; supported are {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]


def _refuse_unsupported(top: Fields, fields: Fields) -> None:
    quantization = top.raw.get("quantization_config") or fields.raw.get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise NotImplementedError(
            f"{top.source}: weights quantised by {shown(method)} are not supported; load the original checkpoint"
        )
    for name in _UNSUPPORTED:
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


def _layers(fields: Fields, family: Family, num_layers: int) -> tuple[int | None, tuple[str, ...]]:
    """The sliding window and the type of each layer."""
    window = fields.optional_integer("sliding_window") if "sliding_window" in fields.raw else 4096
    if family.sliding == "none" or (family.sliding == "switch" and not fields.flag("use_sliding_window", False)):
        window = None
    if family.sliding == "switch":
        first = fields.integer("max_window_layers", 28, minimum=0)
        derived = [SLIDING if window is not None and i >= first else FULL for i in range(num_layers)]
    elif family.sliding == "pattern":
        pattern = fields.integer("sliding_window_pattern", 6)
        derived = [SLIDING if (i + 1) % pattern else FULL for i in range(num_layers)]
    else:
        derived = [FULL if window is None else SLIDING] * num_layers
    types = tuple(derived)
    if fields.has("layer_types"):
        stated = _layer_types(fields, num_layers)
        if family.sliding in ("none", "all") and stated != types:
            raise NotImplementedError(f"{fields.source}: layer_types that differ are not part of {family.name}")
        types = stated
    if SLIDING not in types:
        return None, types
    if window is None:
        raise fields.error("sliding_window", "a window, as there are sliding layers")
    return window, types


def _layer_types(fields: Fields, num_layers: int) -> tuple[str, ...]:
    value = fields.raw["layer_types"]
    if not isinstance(value, list) or len(value) != num_layers or not all(isinstance(v, str) for v in value):
        raise fields.error("layer_types", f"a list of {num_layers} strings")
    types = tuple(FULL if v == "attention" else v for v in value)
    for name in types:
        if name not in (FULL, SLIDING):
            raise NotImplementedError(f"{fields.source}: layers of type {shown(name)} are not supported")
    return types


def _ropes(
    fields: Fields, family: Family, layer_types: tuple[str, ...], max_positions: int, head_dim: int
) -> dict[str, RopeConfig]:
    name = "rope_scaling" if fields.raw.get("rope_scaling") else "rope_parameters"
    given = fields.child(name)
    inherited = {"partial_rotary_factor": fields.raw.get("partial_rotary_factor")}
    original = fields.optional_integer("original_max_position_embeddings")
    nested = any(key in given.raw for key in (FULL, SLIDING))
    ropes = {}
    for kind in sorted(set(layer_types)):
        local = family.name == "gemma3" and kind == SLIDING
        theta_field = "rope_local_base_freq" if local else "rope_theta"
        theta = fields.number(theta_field, family.local_theta if local else family.theta, above=1.0)
        if nested:
            if kind not in given.raw and family.name != "gemma3":
                raise given.error(kind, "an object, as there are layers of this type")
            own = given.child(kind)
        else:
            own = Fields({} if local else given.raw, given.source, given.where)
        own = Fields({**inherited, **own.raw}, own.source, own.where)
        ropes[kind] = parse_rope(
            own,
            default_theta=theta,
            max_position_embeddings=max_positions,
            original_max_position_embeddings=None if nested else original,
        )
        if ropes[kind].type == "dynamic" and head_dim == 2:
            raise fields.error("head_dim", "a head_dim above 2, as dynamic rotary scaling divides by head_dim - 2")
    return ropes


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
