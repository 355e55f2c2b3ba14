"""Diffusion checkpoints: what is decided about each family and why, what the user may state, and hostile files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight import checkpoint
from foresight.checkpoint import ModelConfig, Surroundings, parse_config
from foresight.errors import CheckpointError

BASE: dict[str, Any] = {
    "vocab_size": 200000,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
LLADA: dict[str, Any] = {
    "model_type": "llada",
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 3,
    "mlp_hidden_size": 112,
    "vocab_size": 126464,
    "embedding_size": 126464,
    "rope_theta": 500000.0,
    "max_sequence_length": 4096,
    "eos_token_id": 126081,
    "pad_token_id": 126081,
}
MOE: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
BAILING: dict[str, Any] = {**MOE, "n_group": 4, "topk_group": 2, "use_bias": False}


def parse(model_type: str, overrides: dict[str, Any] | None = None, name: str = "", **fields: Any) -> ModelConfig:
    return parse_config({**BASE, "model_type": model_type, **fields}, {}, overrides, around=Surroundings((name,)))


def facts(config: ModelConfig) -> tuple[str, bool, int | None, int | None]:
    return config.attention, config.shifted, config.mask_token_id, config.block_length


# What a file that says no more than its sizes is taken for.
DEFAULTS: list[tuple[str, dict[str, Any], tuple[str, bool, int, int | None], tuple[int, ...], int | None]] = [
    ("Dream", {}, ("full", True, 151666, None), (151643,), 151643),
    ("sdar", {}, ("block_causal", False, 151669, 4), (151645,), 151643),
    ("sdar_moe", MOE, ("block_causal", False, 151669, 4), (151645,), 151643),
    ("llada2_moe", BAILING, ("block_causal", False, 156895, 32), (156892,), 156892),
    ("Fast_dLLM_Qwen", {}, ("block_causal", True, 151665, 32), (151645,), 151643),
]


@pytest.mark.parametrize(("model_type", "fields", "expected", "eos", "pad"), DEFAULTS, ids=[d[0] for d in DEFAULTS])
def test_defaults(
    model_type: str,
    fields: dict[str, Any],
    expected: tuple[str, bool, int, int | None],
    eos: tuple[int, ...],
    pad: int | None,
) -> None:
    config = parse(model_type, **fields)
    assert facts(config) == expected
    assert (config.eos_token_ids, config.pad_token_id) == (eos, pad)
    assert config.model_type == model_type


def test_llada_has_one_token_for_eos_and_pad() -> None:
    config = parse_config(LLADA)
    assert facts(config) == ("full", False, 126336, None)
    assert (config.eos_token_ids, config.pad_token_id) == ((126081,), 126081)
    assert (config.num_kv_heads, config.head_dim, config.intermediate_size) == (4, 16, 112)
    assert parse_config(LLADA, {"eos_token_id": [126081, 126348]}).eos_token_ids == (126081, 126348)
    assert parse_config({**LLADA, "vocab_size": 126400}).vocab_size == 126464


@pytest.mark.parametrize(
    "fields", [{"alibi": True}, {"block_type": "sequential"}, {"layer_norm_type": "default"}, {"num_experts": 64}]
)
def test_other_blocks_of_olmo_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match=next(iter(fields))):
        parse_config({**LLADA, **fields})


def test_sdar_and_idlm_share_a_model_type() -> None:
    for block in (4, 8, 16, 32, 64):
        assert facts(parse("sdar", block_size=block)) == ("block_causal", False, 151669, block)
    for block in (2, 3):
        assert facts(parse("sdar", block_size=block)) == ("causal", True, 151669, None)
    causal = ("causal", True, 151669, None)
    assert facts(parse("sdar", name="yifanyu/I-DLM-8B")) == causal
    assert facts(parse("sdar", name="/models/my-idlm/")) == causal
    assert facts(parse("sdar", _name_or_path="x/I-DLM-32B", block_size=4)) == causal
    assert facts(parse("sdar", architectures=["IDLMForCausalLM"])) == causal
    # The folder above is no name of the model's.
    assert parse("sdar", name="/idlm/SDAR-8B").attention == "block_causal"
    stated = parse("sdar", {"attention": "block_causal"}, block_size=3)
    assert facts(stated) == ("block_causal", False, 151669, 3)
    assert facts(parse("sdar", {"attention": "causal"}, block_size=8)) == causal


def test_a2d_is_told_by_its_name_or_its_blocks() -> None:
    mask = {"mask_token_id": 7}
    for model_type in ("a2d-qwen3", "a2d-qwen2", "a2d-llama"):
        assert facts(parse(model_type, name="org/X-diffusion-mdlm-v0.1", **mask)) == ("full", False, 7, None)
        assert facts(parse(model_type, name="org/X-diffusion-bd3lm-v0.1", **mask)) == ("block_causal", False, 7, 32)
        assert facts(parse(model_type, block_size=16, **mask)) == ("block_causal", False, 7, 16)
        with pytest.raises(ValueError, match=r'"attention": "full".*"attention": "block_causal", "block_length"'):
            parse(model_type, architectures=["A2DQwen3LMHeadModel"], **mask)
        stated = parse(model_type, {"attention": "block_causal", "block_length": 8}, **mask)
        assert facts(stated) == ("block_causal", False, 7, 8)
    with pytest.raises(ValueError, match=r'state it with config=\{"mask_token_id": ...\}'):
        parse("a2d-qwen3", name="mdlm")


def test_the_tokenizer_may_name_the_mask() -> None:
    raw = {**BASE, "model_type": "a2d-qwen3"}
    around = Surroundings(("mdlm",), lambda: 11)
    assert parse_config(raw, around=around).mask_token_id == 11
    assert parse_config({**raw, "mask_token_id": 7}, around=around).mask_token_id == 7
    assert parse_config(raw, None, {"mask_token_id": 9}, around=around).mask_token_id == 9
    qwen3 = {**BASE, "model_type": "qwen3"}
    assert parse_config(qwen3, around=around).mask_token_id is None
    assert parse_config(qwen3, None, {"attention": "full"}, around=around).mask_token_id == 11
    with pytest.raises(ValueError, match="needs a mask token"):
        parse_config(qwen3, None, {"attention": "full"}, around=Surroundings((), lambda: 10**6))


def test_blocks_of_fast_dllm() -> None:
    assert parse("Fast_dLLM_Qwen").sub_block_length == 8
    config = parse("Fast_dLLM_Qwen", bd_size=16)
    assert (config.block_length, config.sub_block_length) == (16, 8)
    # A sub-block divides the block.
    assert parse("Fast_dLLM_Qwen", {"block_length": 12}).sub_block_length == 12
    assert parse("sdar").sub_block_length is None
    assert parse("Fast_dLLM_Qwen", {"attention": "full"}).block_length is None


def test_our_own_format_states_how_it_is_read() -> None:
    own: dict[str, Any] = {"max_position_embeddings": 72, "learned_positions": True, "mask_token_id": 3}
    config = parse("foresight_qwen3", attention="semi_causal", shifted=False, **own)
    assert facts(config) == ("semi_causal", False, 3, None)
    assert (config.learned_positions, config.rotary_dim, config.max_position_embeddings) == (True, 0, 72)
    assert facts(parse("foresight_qwen3", attention="block_causal", block_length=6, **own)) == (
        "block_causal",
        False,
        3,
        6,
    )
    assert parse("foresight_qwen3", learned_positions=False, mask_token_id=None).rotary_dim == 16
    with pytest.raises(CheckpointError, match="'block_length' is 6, expected null"):
        parse("foresight_qwen3", attention="full", block_length=6, **own)
    with pytest.raises(ValueError, match="attention is 'both'"):
        parse("foresight_qwen3", attention="both", **own)
    with pytest.raises(CheckpointError, match="'shifted' is 1"):
        parse("foresight_qwen3", shifted=1, **own)


def test_experts_of_qwen3() -> None:
    config = parse("sdar_moe", **MOE, norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[1])
    experts = config.experts
    assert experts is not None
    assert (experts.num_experts, experts.experts_per_token, experts.intermediate_size) == (8, 2, 24)
    assert (experts.score, experts.normalize, experts.scale, experts.choice_bias) == ("softmax", True, 1.0, False)
    assert experts.layers == (False, False, False)
    every = parse("sdar_moe", **MOE).experts
    assert every is not None
    assert every.layers == (True, True, True)
    assert parse("sdar").experts is None


def test_experts_of_llada2() -> None:
    fields = {**BAILING, "num_shared_experts": 2, "first_k_dense_replace": 1, "routed_scaling_factor": 2.0}
    config = parse("llada2_moe", **fields)
    experts = config.experts
    assert experts is not None
    assert (experts.num_groups, experts.top_groups, experts.scale) == (4, 2, 2.0)
    assert (experts.score, experts.normalize, experts.choice_bias) == ("sigmoid", True, True)
    assert experts.shared_intermediate_size == 48
    assert experts.layers == (False, True, True)
    assert config.rotary_dim == 8
    assert config.qk_norm
    assert not config.attention_bias
    assert parse("llada2_moe", **fields, partial_rotary_factor=1.0).rotary_dim == 16


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("sdar", {"block_size": 0}, "'block_size' is 0"),
    ("sdar", {"block_size": 2**21}, "'block_size' is 2097152"),
    ("sdar", {"block_size": True}, "'block_size' is True"),
    ("sdar", {"mask_token_id": 200000}, "'mask_token_id' is 200000, expected an id below"),
    ("sdar", {"mask_token_id": "<mask>"}, "'mask_token_id' is '<mask>'"),
    ("Fast_dLLM_Qwen", {"bd_size": "32"}, "'bd_size' is '32'"),
    ("sdar_moe", {**MOE, "num_experts": 5000}, "'num_experts' is 5000"),
    ("sdar_moe", {**MOE, "num_experts": -1}, "'num_experts' is -1"),
    ("sdar_moe", {**MOE, "num_experts_per_tok": 9}, "'num_experts_per_tok' is 9"),
    ("sdar_moe", {**MOE, "moe_intermediate_size": 2**30}, "'moe_intermediate_size' is"),
    ("sdar_moe", {**MOE, "mlp_only_layers": ["x"]}, "'mlp_only_layers' is ['x']"),
    ("sdar_moe", {**MOE, "decoder_sparse_step": 0}, "'decoder_sparse_step' is 0"),
    ("llada2_moe", {**BAILING, "n_group": 3}, "'n_group' is 3"),
    ("llada2_moe", {**BAILING, "n_group": 8, "topk_group": 4}, "'n_group' is 8, expected groups of at least two"),
    ("llada2_moe", {**BAILING, "topk_group": 5}, "'topk_group' is 5"),
    ("llada2_moe", {**BAILING, "num_experts_per_tok": 5}, "'num_experts_per_tok' is 5"),
    ("llada2_moe", {**BAILING, "num_shared_experts": 10**6}, "'num_shared_experts' is"),
    ("llada2_moe", {**BAILING, "routed_scaling_factor": -1.0}, "'routed_scaling_factor' is -1.0"),
    ("llada2_moe", {**BAILING, "moe_intermediate_size": None}, "'moe_intermediate_size' is None"),
    ("llada2_moe", {**BAILING, "partial_rotary_factor": 0.05}, "'partial_rotary_factor' is 0.05"),
    ("llada2_moe", {**BAILING, "partial_rotary_factor": 2.0}, "'partial_rotary_factor' is 2.0"),
    ("llada2_moe", {**BAILING, "partial_rotary_factor": "half"}, "partial_rotary_factor' is 'half'"),
]


@pytest.mark.parametrize(("model_type", "fields", "message"), BROKEN, ids=[f"{m}-{f}"[:60] for m, f, _ in BROKEN])
def test_wrong_values_are_refused_by_name(model_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse(model_type, **fields)
    assert message in str(caught.value)


def test_what_is_not_built_is_named() -> None:
    with pytest.raises(NotImplementedError, match="score_function 'softmax'"):
        parse("llada2_moe", **BAILING, score_function="softmax")
    with pytest.raises(NotImplementedError, match="num_experts=8"):
        parse("sdar", num_experts=8)
    scaled = {"rope_scaling": {"type": "linear", "factor": 2.0}}
    with pytest.raises(NotImplementedError, match="'linear' with partial_rotary_factor"):
        parse("llada2_moe", **BAILING, **scaled)
    with pytest.raises(NotImplementedError, match=r"auto_map.*never run; supported are .*sdar_moe"):
        parse("my_dllm", auto_map={"AutoConfig": "evil.Config"})


def test_a_family_s_mask_must_be_in_the_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"151669, is outside the vocabulary of 100: state it with"):
        parse("sdar", vocab_size=100)
    assert parse("sdar", {"mask_token_id": 5}, vocab_size=100).mask_token_id == 5


# Files


torch = pytest.importorskip("torch")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

from support.tiny import tiny_tokenizer  # noqa: E402
from support.tiny_diffusion import FAMILIES, make_adapter, make_tiny_diffusion  # noqa: E402


def edit(folder: Path, name: str = "config.json", **fields: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_tensors(folder: Path, name: str, **changes: Any) -> None:
    """Replaces tensors of a file, or drops those that become None."""
    tensors = {**safetensors_numpy.load_file(folder / name), **changes}
    safetensors_numpy.save_file({key: value for key, value in tensors.items() if value is not None}, folder / name)


@pytest.mark.hf
@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_of_a_family_has_its_place(family: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    make_tiny_diffusion(tmp_path, family)
    loaded = checkpoint.load(tmp_path)
    stored = safetensors_numpy.load_file(tmp_path / "model.safetensors")
    assert not recwarn.list
    assert sum(view.array.size for view in loaded.tensors.values()) == sum(t.nbytes for t in stored.values())
    for view in loaded.tensors.values():
        rows = stored[view.name].reshape(-1, *view.shape[1:])
        starts = [i for i in range(len(rows)) if np.array_equal(rows[i : i + view.shape[0]], view.elements())]
        assert starts, view.name


@pytest.mark.hf
def test_parts_of_a_fused_matrix(tmp_path: Path) -> None:
    make_tiny_diffusion(tmp_path, "llada2")
    loaded = checkpoint.load(tmp_path)
    fused = safetensors_numpy.load_file(tmp_path / "model.safetensors")[
        "model.layers.1.attention.query_key_value.weight"
    ]
    parts = [loaded.tensors[f"layers.1.{name}"].elements() for name in "qkv"]
    assert [len(part) for part in parts] == [64, 32, 32]
    np.testing.assert_array_equal(np.concatenate(parts), fused)


@pytest.mark.hf
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("llada", "model.transformer.blocks.1.ff_proj.weight"),
        ("llada2", "model.layers.1.attention.query_key_value.weight"),
        ("llada2", "model.layers.2.mlp.experts.7.down_proj.weight"),
        ("llada2", "model.layers.1.mlp.gate.expert_bias"),
        ("sdar_moe", "model.layers.0.mlp.gate.weight"),
        ("foresight_qwen3", "model.embed_positions.weight"),
    ],
)
def test_missing_and_misshapen_tensors_are_named(family: str, name: str, tmp_path: Path) -> None:
    make_tiny_diffusion(tmp_path, family)
    shape = safetensors_numpy.load_file(tmp_path / "model.safetensors")[name].shape
    change_tensors(tmp_path, "model.safetensors", **{name: np.zeros((*shape[:-1], shape[-1] + 1), np.float32)})
    with pytest.raises(CheckpointError, match=f"{name}' has shape"):
        checkpoint.load(tmp_path)
    change_tensors(tmp_path, "model.safetensors", **{name: None})
    with pytest.raises(CheckpointError, match=f"no tensor '{name}'"):
        checkpoint.load(tmp_path)


@pytest.mark.hf
def test_a_count_that_the_file_cannot_back_stops_at_the_first_tensor(tmp_path: Path) -> None:
    make_tiny_diffusion(tmp_path, "sdar_moe")
    edit(tmp_path, num_experts=4096, num_hidden_layers=4096)
    with pytest.raises(CheckpointError, match=r"model\.layers\.0\.mlp\.gate\.weight' has shape"):
        checkpoint.load(tmp_path)


@pytest.mark.hf
def test_names_of_the_folder_tell_too(tmp_path: Path) -> None:
    folder = tmp_path / "I-DLM-tiny"
    make_tiny_diffusion(folder, "sdar")
    assert checkpoint.load(folder).config.attention == "causal"
    assert checkpoint.load(str(folder) + "/").config.attention == "causal"
    plain = Path(shutil.copytree(folder, tmp_path / "SDAR-tiny"))
    assert checkpoint.load(plain).config.attention == "block_causal"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """The folder of an adapter to tmp_path / "base"."""
    reference = make_tiny_diffusion(tmp_path / "base", "idlm")
    edit(tmp_path / "base", model_type="qwen3", mask_token_id=None)
    make_adapter(tmp_path / "adapter", "../base", reference.network)
    return tmp_path / "adapter"


@pytest.mark.hf
def test_an_adapter_brings_its_base(adapter: Path) -> None:
    loaded = checkpoint.load(adapter)
    config = loaded.config
    assert (config.family, config.has_adapter, config.adapter_scale) == ("qwen3", True, 1.5)
    assert facts(config) == ("causal", True, None, None)
    assert loaded.tensors["layers.2.q.lora_a"].shape == (4, 48)
    assert loaded.tensors["layers.2.down.lora_b"].shape == (48, 4)
    assert "layers.0.k.lora_a" not in loaded.tensors
    assert checkpoint.load(adapter, config={"mask_token_id": 9}).config.mask_token_id == 9
    edit(adapter, "adapter_config.json", base_model_name_or_path=str(adapter.parent / "base"))
    assert checkpoint.load(adapter).config.has_adapter
    edit(adapter, "adapter_config.json", mask_token_id=8)
    assert checkpoint.load(adapter).config.mask_token_id == 8


@pytest.mark.hf
def test_the_tokenizer_of_an_adapter_goes_first(adapter: Path) -> None:
    tiny_tokenizer(adapter.parent / "base")
    assert checkpoint.load(adapter).config.mask_token_id == 3
    tiny_tokenizer(adapter)
    loaded = checkpoint.load(adapter)
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.source.startswith(str(adapter))
    edit(adapter, "tokenizer_config.json", mask_token="<s>")
    assert checkpoint.load(adapter).config.mask_token_id == 1


@pytest.mark.hf
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "lora_only"}, "bias='lora_only'"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\]"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ],
    ids=str,
)
def test_features_of_peft_that_are_not_built(adapter: Path, fields: dict[str, Any], message: str) -> None:
    edit(adapter, "adapter_config.json", **fields)
    with pytest.raises(NotImplementedError, match=message):
        checkpoint.load(adapter)


@pytest.mark.hf
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"r": 0}, "'r' is 0"),
        ({"r": 2**40}, "'r' is"),
        ({"r": 5}, r"expected \[5, "),
        ({"lora_alpha": -1}, "'lora_alpha' is -1"),
        ({"base_model_name_or_path": None}, "'base_model_name_or_path' is None"),
        ({"base_model_name_or_path": "./nowhere/at/all"}, "base_model_name_or_path: './nowhere/at/all'"),
        ({"base_model_name_or_path": "."}, "is an adapter, expected a model"),
        ({"use_rslora": "yes"}, "'use_rslora' is 'yes'"),
        ({"peft_type": 1}, "'peft_type' is 1"),
    ],
    ids=str,
)
def test_broken_adapters_are_named(adapter: Path, fields: dict[str, Any], message: str) -> None:
    edit(adapter, "adapter_config.json", **fields)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(adapter)


@pytest.mark.hf
def test_tensors_of_an_adapter_that_have_no_place(adapter: Path) -> None:
    prefix, name = "base_model.model.model.layers.0.self_attn.q_proj", "adapter_model.safetensors"
    half = np.zeros((4, 48), np.float32)
    change_tensors(adapter, name, **{f"{prefix}.lora_B.weight": None})
    with pytest.raises(CheckpointError, match=r"q_proj\.lora_A\.weight', but not its other half"):
        checkpoint.load(adapter)
    change_tensors(adapter, name, **{f"{prefix}.lora_A.weight": None, "base_model.model.lm_head.lora_A.weight": half})
    with pytest.raises(NotImplementedError, match=r"lm_head\.lora_A"):
        checkpoint.load(adapter)
    (adapter / name).unlink()
    with pytest.raises(CheckpointError, match="adapter_model"):
        checkpoint.load(adapter)
