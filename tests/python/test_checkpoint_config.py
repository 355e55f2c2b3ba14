"""config.json to ModelConfig: both spellings of every family, transformers' defaults, and refusals that name the field."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foresight.checkpoint import ModelConfig, load, parse_config, with_dtype
from foresight.errors import CheckpointError
from support.tiny import VARIANTS, make_tiny

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**LLAMA, **fields}


@pytest.mark.hf
@pytest.mark.parametrize(("family", "variant"), VARIANTS)
@pytest.mark.parametrize("config_style", ["v4", "v5"])
def test_fields_are_those_of_transformers(family: str, variant: str, config_style: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = make_tiny(tmp_path, family, variant=variant, config_style=config_style)
    theirs = transformers.AutoConfig.from_pretrained(folder).get_text_config()
    ours = load(folder).config
    assert ours.family == family
    assert ours.vocab_size == theirs.vocab_size
    assert ours.hidden_size == theirs.hidden_size
    assert ours.intermediate_size == theirs.intermediate_size
    assert ours.num_layers == theirs.num_hidden_layers
    assert ours.num_heads == theirs.num_attention_heads
    assert ours.num_kv_heads == theirs.num_key_value_heads
    head_dim = getattr(theirs, "head_dim", None) or theirs.hidden_size // theirs.num_attention_heads
    assert ours.head_dim == head_dim
    assert ours.rms_norm_eps == theirs.rms_norm_eps
    assert ours.max_position_embeddings == theirs.max_position_embeddings
    assert ours.tie_word_embeddings == theirs.tie_word_embeddings
    assert ours.eos_token_ids == (2,)
    assert (ours.pad_token_id, ours.bos_token_id) == (0, 1)
    assert ours.dtype == "float32"
    if family in ("qwen2", "qwen3", "gemma3"):
        assert list(ours.layer_types) == theirs.layer_types
    if family != "llama":
        assert ours.sliding_window == (theirs.sliding_window if "sliding" in str(ours.layer_types) else None)
    for kind, rope in ours.rope.items():
        expected = theirs.rope_parameters.get(kind, theirs.rope_parameters)
        assert rope.type == expected["rope_type"]
        assert rope.theta == expected["rope_theta"]
        assert rope.factor == expected.get("factor", 1.0)


def test_published_configs_of_both_eras_give_the_same_model() -> None:
    llama3 = changed(
        rope_theta=500000.0,
        rope_scaling={
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        torch_dtype="bfloat16",
        max_position_embeddings=131072,
        eos_token_id=[128001, 128008, 128009],
        pretraining_tp=1,
    )
    newer = {k: v for k, v in llama3.items() if k not in ("rope_theta", "rope_scaling", "torch_dtype")}
    newer["rope_parameters"] = {**llama3["rope_scaling"], "rope_theta": 500000.0}
    newer["dtype"] = "bfloat16"
    assert parse_config(llama3) == parse_config(newer)
    config = parse_config(llama3)
    assert config.rope["full_attention"].original_max_position_embeddings == 8192
    assert config.eos_token_ids == (128001, 128008, 128009)
    assert config.dtype == "bfloat16"


def test_sparse_gemma3_text_config_takes_the_defaults_of_its_class() -> None:
    raw = {
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "eos_token_id": [1, 106],
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152},
    }
    config = parse_config(raw)
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (8, 4, 256)
    assert config.vocab_size == 262208
    assert config.layer_types[:6] == ("sliding_attention",) * 5 + ("full_attention",)
    assert config.sliding_window == 1024
    assert (config.rope["full_attention"].type, config.rope["full_attention"].theta) == ("linear", 1e6)
    assert (config.rope["sliding_attention"].type, config.rope["sliding_attention"].theta) == ("default", 1e4)
    assert config.tie_word_embeddings
    assert config.norm_plus_one
    assert config.post_norms
    assert config.qk_norm
    assert config.activation == "gelu_tanh"
    assert config.attention_scale == 256**-0.5
    assert config.eos_token_ids == (1, 106)


def test_embedding_scale_is_rounded_to_the_dtype_of_the_weights() -> None:
    raw = {"model_type": "gemma3_text", "hidden_size": 1152, "num_attention_heads": 4, "dtype": "bfloat16"}
    config = parse_config(raw)
    assert config.embedding_scale == 34.0
    assert with_dtype(config, "float32").embedding_scale == pytest.approx(1152**0.5, rel=1e-7)
    assert with_dtype(config, "float16").embedding_scale == 33.9375
    torch = pytest.importorskip("torch")
    for hidden in (64, 640, 1152, 2304, 2560, 3840, 5376):
        for name in ("float32", "bfloat16", "float16"):
            scale = parse_config({**raw, "hidden_size": hidden, "dtype": name}).embedding_scale
            assert scale == torch.tensor(hidden**0.5).to(getattr(torch, name)).item()
    assert parse_config(LLAMA).embedding_scale == 1.0


def test_special_tokens_of_generation_config_go_first() -> None:
    raw = changed(eos_token_id=7, bos_token_id=5)
    assert parse_config(raw).eos_token_ids == (7,)
    config = parse_config(raw, {"eos_token_id": [8, 9, 8], "pad_token_id": 4})
    assert config.eos_token_ids == (8, 9)
    assert (config.bos_token_id, config.pad_token_id) == (5, 4)
    assert parse_config(raw, {"eos_token_id": None}).eos_token_ids == (7,)
    assert parse_config(changed(eos_token_id=None)).eos_token_ids == ()
    assert parse_config(LLAMA).eos_token_ids == (2,)
    assert parse_config(changed(pad_token_id=-1)).pad_token_id is None


def test_defaults_follow_the_family() -> None:
    assert parse_config(LLAMA).num_kv_heads == 4
    assert parse_config(changed(num_key_value_heads=None)).num_kv_heads == 4
    assert parse_config(changed(model_type="mistral", num_attention_heads=16)).num_kv_heads == 8
    mistral = parse_config(changed(model_type="mistral", num_key_value_heads=2))
    assert mistral.sliding_window == 4096
    assert set(mistral.layer_types) == {"sliding_attention"}
    assert parse_config(changed(model_type="qwen3", num_key_value_heads=2)).head_dim == 128
    qwen2 = parse_config(changed(model_type="qwen2", num_key_value_heads=2, sliding_window=9))
    assert qwen2.sliding_window is None
    assert qwen2.attention_bias
    assert not qwen2.output_bias
    biased = parse_config(changed(attention_bias=True, mlp_bias=True))
    assert biased.attention_bias
    assert biased.output_bias
    assert biased.mlp_bias
    assert parse_config(changed(hidden_act="gelu_pytorch_tanh")).activation == "gelu_tanh"


def test_a_config_is_frozen_and_can_be_pickled() -> None:
    config = parse_config(LLAMA)
    with pytest.raises(AttributeError):
        config.vocab_size = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(parse_config(LLAMA))


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"vocab_size": -1}, "'vocab_size' is -1"),
    ({"vocab_size": 0}, "'vocab_size' is 0"),
    ({"vocab_size": True}, "'vocab_size' is True"),
    ({"vocab_size": 320.0}, "'vocab_size' is 320.0"),
    ({"vocab_size": "320"}, "'vocab_size' is '320'"),
    ({"vocab_size": 10**30}, "'vocab_size' is 1000"),
    ({"hidden_size": None}, "'hidden_size' is None"),
    ({"hidden_size": 2**40}, "'hidden_size' is"),
    ({"hidden_size": 66}, "divisor of hidden_size, 66"),
    ({"num_hidden_layers": 10**6}, "'num_hidden_layers' is 1000000"),
    ({"num_key_value_heads": 3}, "'num_key_value_heads' is 3, expected a divisor"),
    ({"num_key_value_heads": 8}, "'num_key_value_heads' is 8"),
    ({"num_attention_heads": 64}, "an even head_dim, not 1"),
    ({"head_dim": 15}, "'head_dim' is 15"),
    ({"rms_norm_eps": float("nan")}, "'rms_norm_eps' is nan"),
    ({"rms_norm_eps": float("inf")}, "'rms_norm_eps' is inf"),
    ({"rms_norm_eps": 0}, "'rms_norm_eps' is 0"),
    ({"rms_norm_eps": "1e-6"}, "'rms_norm_eps' is '1e-6'"),
    ({"rope_theta": 0.5}, "'rope_theta' is 0.5"),
    ({"rope_theta": 10**400}, "'rope_theta' is 1000"),
    ({"rope_scaling": "linear"}, "'rope_scaling' is 'linear'"),
    ({"rope_scaling": {"type": "linear"}}, "'rope_scaling.factor' is missing"),
    ({"rope_scaling": {"type": "linear", "factor": -2.0}}, "'rope_scaling.factor' is -2.0"),
    ({"rope_scaling": {"type": 3}}, "'rope_scaling.type' is 3"),
    (
        {"rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}},
        "greater than low_freq_factor",
    ),
    ({"tie_word_embeddings": 1}, "'tie_word_embeddings' is 1"),
    ({"eos_token_id": "2"}, "'eos_token_id' is '2'"),
    ({"eos_token_id": [2, 3.5]}, "'eos_token_id' is"),
    ({"eos_token_id": 2**40}, "'eos_token_id' is"),
    ({"torch_dtype": "int8"}, "'torch_dtype' is 'int8'"),
    ({"dtype": 16}, "'dtype' is 16"),
    ({"layer_types": ["full_attention"]}, "expected a list of 3 strings"),
    ({"model_type": None}, "'model_type' is None"),
    ({"model_type": 3}, "'model_type' is 3"),
]


@pytest.mark.parametrize(("fields", "message"), BROKEN, ids=[str(f)[:50] for f, _ in BROKEN])
def test_wrong_values_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_config(changed(**fields), source="/models/x/config.json")
    assert "/models/x/config.json" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("field", [name for name in LLAMA if name != "model_type"])
def test_sizes_must_be_there(field: str) -> None:
    raw = {name: value for name, value in LLAMA.items() if name != field}
    with pytest.raises(CheckpointError, match=f"'{field}' is missing"):
        parse_config(raw)


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "bert"}, "llama, mistral, qwen2, qwen3, gemma3"),
    ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
    ({"hidden_act": "relu"}, "relu"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ({"rope_scaling": {"type": "longrope", "factor": 2.0}}, "longrope"),
    ({"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.25}}, "partial_rotary_factor"),
    ({"num_local_experts": 8}, "num_local_experts"),
    ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
    ({"layer_types": ["full_attention", "linear_attention", "full_attention"]}, "linear_attention"),
    ({"layer_types": ["sliding_attention", "full_attention", "full_attention"]}, "layer_types"),
]


@pytest.mark.parametrize(("fields", "message"), UNSUPPORTED, ids=[str(f)[:50] for f, _ in UNSUPPORTED])
def test_what_is_not_built_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(NotImplementedError, match=message):
        parse_config(changed(**fields))


def test_what_the_user_states_goes_first() -> None:
    config = parse_config(LLAMA)
    assert (config.attention, config.shifted, config.mask_token_id) == ("causal", True, None)
    config = parse_config(LLAMA, overrides={"attention": "full", "mask_token_id": 3})
    assert (config.attention, config.shifted, config.mask_token_id) == ("full", False, 3)
    config = parse_config(LLAMA, overrides={"attention": "full", "shifted": True, "mask_token_id": 3})
    assert config.shifted
    config = parse_config(LLAMA, overrides={"attention": "block_causal", "mask_token_id": 3, "block_length": 4})
    assert config.block_length == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"attention": "sideways"}, "causal, full, block_causal, semi_causal"),
        ({"hidden_size": 4}, "attention, shifted, mask_token_id, block_length"),
        ({"attention": "full"}, "needs a mask token"),
        ({"attention": "full", "mask_token_id": -1}, "mask_token_id"),
        ({"attention": "full", "mask_token_id": True}, "mask_token_id"),
        ({"attention": "full", "mask_token_id": 10**9}, "mask_token_id"),
        ({"attention": "block_causal", "mask_token_id": 3}, "block_length is None"),
        ({"attention": "block_causal", "mask_token_id": 3, "block_length": 0}, "block_length is 0"),
        ({"attention": "full", "mask_token_id": 3, "block_length": 4}, "not block_causal"),
        ({"shifted": 1}, "shifted is 1"),
    ],
)
def test_statements_that_do_not_fit_are_named(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config(LLAMA, overrides=overrides)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["rope_parameters"].pop("sliding_attention"),
        lambda raw: raw.pop("rope_parameters"),
        lambda raw: raw.update(rope_parameters={"sliding_attention": None, "full_attention": None}),
    ],
)
def test_gemma3_rotary_defaults_by_layer_type(change: Callable[[dict[str, Any]], Any]) -> None:
    raw: dict[str, Any] = {
        "model_type": "gemma3_text",
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    }
    change(raw)
    config: ModelConfig = parse_config(raw)
    assert config.rope["full_attention"].theta == 1e6
    assert config.rope["sliding_attention"].theta == 1e4
