"""checkpoint.load: real folders of every family, shards, tied heads, and folders that are not in order."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight import checkpoint
from foresight.checkpoint.weights import expected_tensors
from foresight.errors import CheckpointError
from support.tiny import VARIANTS, make_tiny, tiny_tokenizer

pytestmark = pytest.mark.hf
safetensors_numpy = pytest.importorskip("safetensors.numpy")
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("llama"), "llama")
    return tiny_tokenizer(folder)


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def tensors_of(folder: Path) -> dict[str, Any]:
    return dict(safetensors_numpy.load_file(folder / "model.safetensors"))


def save(folder: Path, tensors: dict[str, Any]) -> None:
    safetensors_numpy.save_file(tensors, folder / "model.safetensors")


def edit(folder: Path, name: str = "config.json", **fields: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_every_tensor_has_its_place(family: str, variant: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = make_tiny(tmp_path, family, variant=variant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = checkpoint.load(folder)
    stored = load_file(folder / "model.safetensors")
    text = {name: tensor for name, tensor in stored.items() if "vision" not in name and "multi_modal" not in name}
    assert len(loaded.tensors) == len(text)
    assert ("lm_head" in loaded.tensors) != loaded.config.tie_word_embeddings
    expected = {place.canonical: place.shape for place in expected_tensors(loaded.config)}
    for canonical, view in loaded.tensors.items():
        np.testing.assert_array_equal(view.elements(), stored[view.name].numpy())
        if canonical != "lm_head":
            assert view.shape == expected[canonical]
    first = loaded.tensors["layers.0.attn_norm"]
    assert first.name.endswith("layers.0.input_layernorm.weight")
    norm = "pre_feedforward_layernorm" if family == "gemma3" else "post_attention_layernorm"
    assert loaded.tensors["layers.1.mlp_norm"].name.endswith(f"layers.1.{norm}.weight")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("sharded", [False, True])
def test_dtypes_and_shards(dtype: str, sharded: bool, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path, "qwen3", dtype=dtype, sharded=sharded)
    loaded = checkpoint.load(folder)
    assert loaded.config.dtype == dtype
    assert {view.dtype for view in loaded.tensors.values()} == {dtype}
    assert len({view.file for view in loaded.tensors.values()}) == (
        1 if not sharded else len(list(folder.glob("model-*")))
    )
    model = __import__("transformers").AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weights = model.state_dict()
    for view in loaded.tensors.values():
        np.testing.assert_array_equal(view.float32(), weights[view.name].numpy())


def test_a_folder_needs_only_config_and_weights(copy: Path) -> None:
    loaded = checkpoint.load(str(copy))
    assert loaded.tokenizer is not None
    assert loaded.chat_template is not None
    assert loaded.generation_config["eos_token_id"] == 2
    for path in copy.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    loaded = checkpoint.load(copy)
    assert loaded.tokenizer is None
    assert loaded.chat_template is None
    assert loaded.generation_config == {}


def test_dtype_comes_from_the_weights_where_the_config_is_silent(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path, "gemma3", dtype="bfloat16", hidden_size=48)
    edit(folder, dtype=None)
    loaded = checkpoint.load(folder)
    assert loaded.config.dtype == "bfloat16"
    assert loaded.config.embedding_scale == torch.tensor(48**0.5).to(torch.bfloat16).item()


def test_a_wrong_shape_names_file_tensor_and_both_shapes(copy: Path) -> None:
    tensors = tensors_of(copy)
    tensors["model.layers.1.mlp.up_proj.weight"] = np.zeros((111, 64), dtype=np.float32)
    save(copy, tensors)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(copy)
    for part in ("model.safetensors", "'model.layers.1.mlp.up_proj.weight'", "[111, 64]", "[112, 64]"):
        assert part in str(caught.value)


def test_a_missing_tensor_is_named(copy: Path) -> None:
    for name in ("lm_head.weight", "model.layers.2.self_attn.q_proj.weight", "model.norm.weight"):
        tensors = tensors_of(copy)
        kept = dict(tensors)
        del kept[name]
        save(copy, kept)
        with pytest.raises(CheckpointError, match=f"has no tensor '{name}'"):
            checkpoint.load(copy)
        save(copy, tensors)


def test_integers_cannot_be_weights(copy: Path) -> None:
    tensors = tensors_of(copy)
    tensors["model.norm.weight"] = np.zeros(64, dtype=np.int32)
    save(copy, tensors)
    with pytest.raises(CheckpointError, match=r"'model\.norm\.weight' is I32"):
        checkpoint.load(copy)


def test_unused_tensors_warn_and_derived_ones_do_not(copy: Path) -> None:
    tensors = tensors_of(copy)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(8, dtype=np.float32)
    save(copy, tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint.load(copy)
    tensors["model.layers.9.mlp.up_proj.weight"] = np.zeros(8, dtype=np.float32)
    save(copy, tensors)
    with pytest.warns(UserWarning, match=r"1 tensors are not used: 'model\.layers\.9\.mlp\.up_proj\.weight'"):
        checkpoint.load(copy)


def test_a_head_beside_a_tied_embedding(copy: Path) -> None:
    edit(copy, tie_word_embeddings=True)
    with pytest.warns(UserWarning, match="differs"):
        loaded = checkpoint.load(copy)
    assert "lm_head" in loaded.tensors
    assert not loaded.config.tie_word_embeddings
    tensors = tensors_of(copy)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    save(copy, tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = checkpoint.load(copy)
    assert "lm_head" not in loaded.tensors
    assert loaded.config.tie_word_embeddings
    del tensors["model.embed_tokens.weight"]
    save(copy, tensors)
    assert checkpoint.load(copy).tensors["embed"].name == "lm_head.weight"


def test_nan_weights_load(copy: Path) -> None:
    tensors = tensors_of(copy)
    tensors["model.norm.weight"][:] = np.nan
    save(copy, tensors)
    assert np.isnan(checkpoint.load(copy).tensors["final_norm"].float32()).all()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return make_tiny(tmp_path, "llama", sharded=True)


def break_index(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def test_shards_out_of_order(sharded: Path, tmp_path: Path) -> None:
    name = "model.norm.weight"
    shards = sorted(path.name for path in sharded.glob("model-*.safetensors"))
    original = (sharded / "model.safetensors.index.json").read_bytes()
    home = json.loads(original)["weight_map"][name]
    other = next(shard for shard in shards if shard != home)
    cases: list[tuple[Any, str]] = [
        (lambda index: index["weight_map"].update({name: other}), f"{other}: has no tensor '{name}'.*it is in {home}"),
        (lambda index: index["weight_map"].update({"extra": home}), "has no tensor 'extra'"),
        (lambda index: index["weight_map"].update({name: "../" + home}), "expected a .safetensors file"),
        (lambda index: index["weight_map"].update({name: "/etc/passwd.safetensors"}), "expected a .safetensors"),
        (lambda index: index["weight_map"].update({name: "config.json"}), "expected a .safetensors file"),
        (lambda index: index["weight_map"].update({name: 3}), "expected a .safetensors file"),
        (lambda index: index["weight_map"].update({name: "gone.safetensors"}), "gone.safetensors: is missing"),
        (lambda index: index.update(weight_map=[]), "weight_map is \\[\\]"),
        (lambda index: index.pop("weight_map"), "weight_map is None"),
    ]
    for change, message in cases:
        break_index(sharded, change)
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load(sharded)
        (sharded / "model.safetensors.index.json").write_bytes(original)
    shutil.copy(sharded / home, sharded / "model-again.safetensors")
    break_index(sharded, lambda index: index["weight_map"].update({name: "model-again.safetensors"}))
    with pytest.raises(CheckpointError, match="is also in"):
        checkpoint.load(sharded)


def test_pickles_are_not_loaded(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin, a pickle"):
        checkpoint.load(copy)
    (copy / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        checkpoint.load(copy)


@pytest.mark.parametrize("content", ["", "[]", "3", "{", '{"a": 1, "a": 2}', "[" * 100_000, '"x"'])
def test_broken_config_files(content: str, copy: Path) -> None:
    (copy / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        checkpoint.load(copy)


def test_large_and_missing_and_special_config_files(copy: Path) -> None:
    (copy / "config.json").write_text('{"a": "' + "x" * (5 << 20) + '"}')
    with pytest.raises(CheckpointError, match="expected at most 4194304"):
        checkpoint.load(copy)
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        checkpoint.load(copy)
    (copy / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="not a regular file"):
        checkpoint.load(copy)


def test_overrides_reach_the_config(copy: Path) -> None:
    assert checkpoint.load(copy, config={"attention": "causal"}).config.attention == "causal"
    config = checkpoint.load(copy, config={"attention": "full"}).config
    assert (config.attention, config.shifted) == ("full", False)
    assert config.mask_token_id == 3  # the tokenizer's
