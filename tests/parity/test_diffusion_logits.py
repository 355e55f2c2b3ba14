"""Logits of every diffusion family, loaded from its published format, against plain PyTorch; rows that do not depend
on their batch; adapters that touch only the rows that ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight import checkpoint
from foresight._core import supported_isas, testing
from foresight.checkpoint import Checkpoint, ModelConfig
from foresight.core_config import core_config

pytestmark = pytest.mark.hf
torch = pytest.importorskip("torch")

from support.tiny_diffusion import FAMILIES, MASK, make_adapter, make_tiny_diffusion  # noqa: E402

BOUND = 2e-4


def core_of(loaded: Checkpoint, isa: str | None = None, dtype: str = "float32") -> Any:
    tensors = {name: (view.array, view.dtype, view.shape) for name, view in loaded.tensors.items()}
    return testing.TestModel(core_config(loaded.config), tensors, dtype=dtype, isa=isa)


def ranks_of(config: ModelConfig, length: int) -> list[int]:
    """The attention rule as ranks; a row's limit is its rank."""
    if config.attention == "causal":
        return list(range(length))
    if config.attention == "block_causal":
        return [position // (config.block_length or 1) for position in range(length)]
    return [0] * length


def logits_of(model: Any, config: ModelConfig, sequences: Sequence[Sequence[int]], adapter: int = 0) -> list[Any]:
    """[length, vocab] per sequence, all in one forward."""
    lengths = [len(ids) for ids in sequences]
    ranks = [rank for length in lengths for rank in ranks_of(config, length)]
    positions = [position for length in lengths for position in range(length)]
    tokens = [token for ids in sequences for token in ids]
    rows = model.forward(lengths, tokens, positions, ranks, ranks, [adapter] * len(tokens))
    return np.split(rows, np.cumsum(lengths)[:-1])


def some_ids(length: int, seed: int = 0) -> list[int]:
    """Tokens with masks among them."""
    ids = np.random.default_rng(seed).integers(0, 84, length)
    ids[np.random.default_rng(seed + 1).random(length) < 0.4] = MASK
    return [int(token) for token in ids]


VARIANTS: list[tuple[str, dict[str, Any]]] = [(family, {}) for family in FAMILIES] + [
    ("sdar", {"block_size": 16}),
    ("fast_dllm_v2", {"bd_size": 8}),
    ("a2d_bd3lm", {"block_size": 8}),
    ("llada2", {"block_size": 8}),
    ("foresight_qwen3", {"attention": "causal", "shifted": True}),
    ("foresight_qwen3", {"attention": "semi_causal"}),
    ("foresight_qwen3", {"attention": "block_causal", "block_length": 5}),
    ("foresight_qwen3", {"learned_positions": False}),
]


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=str)
def test_logits_are_the_reference_s(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    reference = make_tiny_diffusion(tmp_path, family, **options)
    loaded = checkpoint.load(tmp_path)
    model = core_of(loaded)
    for length in (1, 7, 41):
        ids = some_ids(length, seed=length)
        expected = reference(torch.tensor([ids]))[0].numpy()
        assert expected.std() > 0.3
        np.testing.assert_allclose(logits_of(model, loaded.config, [ids])[0], expected, rtol=0, atol=BOUND)


@pytest.mark.parametrize("isa", supported_isas())
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sequence_does_not_depend_on_its_batch(family: str, isa: str, tmp_path: Path) -> None:
    make_tiny_diffusion(tmp_path, family)
    loaded = checkpoint.load(tmp_path)
    for dtype in ("float32", "bfloat16"):
        model = core_of(loaded, isa, dtype)
        sequences = [some_ids(length, seed=length) for length in (1, 19, 5, 40)]
        together = logits_of(model, loaded.config, sequences)
        for ids, rows in zip(sequences, together, strict=True):
            np.testing.assert_array_equal(logits_of(model, loaded.config, [ids])[0], rows)


@pytest.mark.parametrize(
    "options", [{}, {"r": 3, "use_rslora": True}, {"target_modules": ["k_proj", "up_proj"]}], ids=str
)
def test_only_rows_that_ask_go_through_the_adapter(options: dict[str, Any], tmp_path: Path) -> None:
    reference = make_tiny_diffusion(tmp_path / "base", "idlm")
    adapted = make_adapter(tmp_path / "adapter", "../base", reference.network, **options)
    plain, loaded = checkpoint.load(tmp_path / "base"), checkpoint.load(tmp_path / "adapter")
    assert loaded.config.has_adapter
    assert not plain.config.has_adapter
    ids = some_ids(23)
    with torch.no_grad():
        expected = adapted(torch.tensor([ids]), reference.mask(len(ids)))[0].numpy()
    model, base = core_of(loaded), core_of(plain)
    np.testing.assert_allclose(logits_of(model, loaded.config, [ids], adapter=1)[0], expected, rtol=0, atol=BOUND)
    without = logits_of(base, plain.config, [ids])[0]
    assert abs(without - expected).max() > 0.1
    np.testing.assert_array_equal(logits_of(model, loaded.config, [ids])[0], without)
    # A model without an adapter has nothing to add.
    np.testing.assert_array_equal(logits_of(base, plain.config, [ids], adapter=1)[0], without)


@pytest.mark.parametrize("isa", supported_isas())
def test_rows_beside_the_adapter_s_keep_their_bits(isa: str, tmp_path: Path) -> None:
    reference = make_tiny_diffusion(tmp_path / "base", "idlm")
    make_adapter(tmp_path / "adapter", "../base", reference.network)
    plain, loaded = checkpoint.load(tmp_path / "base"), checkpoint.load(tmp_path / "adapter")
    clean = [token for token in some_ids(30) if token != MASK]
    count, masks = len(clean), 6
    tokens = clean + [MASK] * masks
    ranks = list(range(len(tokens)))
    for dtype in ("float32", "bfloat16"):
        gated = core_of(loaded, isa, dtype).forward(
            [len(tokens)], tokens, ranks, ranks, ranks, [0] * count + [1] * masks
        )
        base = core_of(plain, isa, dtype)
        np.testing.assert_array_equal(gated[:count], logits_of(base, plain.config, [clean])[0])
        whole = logits_of(base, plain.config, [tokens])[0]
        assert all(abs(gated[row] - whole[row]).max() > 0.01 for row in range(count, len(tokens)))


# A second oracle: transformers' own classes under a mask of ours, for the families that are built of them.
CLASSES = {
    "dream": "Qwen2ForCausalLM",
    "fast_dllm_v2": "Qwen2ForCausalLM",
    "sdar": "Qwen3ForCausalLM",
    "idlm": "Qwen3ForCausalLM",
    "sdar_moe": "Qwen3MoeForCausalLM",
}


@pytest.mark.parametrize("family", CLASSES)
def test_transformers_classes_say_the_same(family: str, tmp_path: Path) -> None:
    import json

    import transformers

    reference = make_tiny_diffusion(tmp_path, family)
    loaded = checkpoint.load(tmp_path)
    model = core_of(loaded)
    path = tmp_path / "config.json"
    kind = CLASSES[family].removesuffix("ForCausalLM")
    raw = {**json.loads(path.read_text()), "model_type": {"Qwen3Moe": "qwen3_moe"}.get(kind, kind.lower())}
    path.write_text(json.dumps(raw))
    theirs = getattr(transformers, CLASSES[family]).from_pretrained(tmp_path, dtype=torch.float32)
    ids = some_ids(33)
    mask = torch.zeros(1, 1, 33, 33).masked_fill(~reference.mask(33), float("-inf"))
    with torch.no_grad():
        expected = theirs(torch.tensor([ids]), attention_mask=mask).logits[0].numpy()
    np.testing.assert_allclose(logits_of(model, loaded.config, [ids])[0], expected, rtol=0, atol=BOUND)
