"""Every diffusion family, loaded from its published format, against its published sampler in plain PyTorch: the same
tokens at temperature 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.hf
torch = pytest.importorskip("torch")

import foresight as fs  # noqa: E402
from reference import bd3lm, dream, fast_dllm, fast_dllm_v2, llada, llada2, sdar  # noqa: E402
from reference.network import ReferenceNetwork, Shape  # noqa: E402
from support.tiny_diffusion import MASK, make_adapter, make_tiny_diffusion  # noqa: E402

PROMPTS = [[3, 14, 15, 9, 2, 6], [5, 35], [8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 26]]
NEW = 16
# Special tokens of the real vocabularies lie outside the tiny ones.
SPECIAL = {"eos_token_id": 80, "pad_token_id": 81}


def load(folder: Path, family: str, **options: Any) -> tuple[Any, fs.LM]:
    network = make_tiny_diffusion(folder, family, **SPECIAL, **options)
    return network, fs.LM.from_pretrained(folder, dtype="float32")


def check(lm: fs.LM, decoding: Any, oracle: Any, prompts: list[list[int]] = PROMPTS) -> None:
    """The same tokens as the oracle, which sees one prompt [1, P] at a time."""
    sequences = lm.generate(prompts, decoding=decoding, max_new_tokens=NEW, eos_token_id=None)
    for prompt, sequence in zip(prompts, sequences, strict=True):
        expected = oracle(torch.tensor([prompt])).ids[0].tolist()
        assert sequence == expected[: len(prompt) + NEW], prompt


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize(("steps", "block"), [(16, 16), (8, 4), (4, 8)])
def test_llada(tmp_path: Path, steps: int, block: int, quirks: bool) -> None:
    network, lm = load(tmp_path, "llada")
    check(
        lm,
        fs.MaskedDiffusion(steps=steps, block_length=block, reference_quirks=quirks),
        lambda prompt: llada.generate(
            network, prompt, mask_id=MASK, steps=steps, gen_length=NEW, block_length=block, quirks=quirks
        ),
    )


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
@pytest.mark.parametrize("rule", [{"threshold": 0.3}, {"factor": 1.5}])
def test_fast_dllm(tmp_path: Path, cache: Any, rule: dict[str, float], quirks: bool) -> None:
    network = ReferenceNetwork(seed=3)
    lm = fs.LM.from_pretrained(
        network.save(tmp_path), dtype="float32", config={"attention": "full", "mask_token_id": 37}
    )
    check(
        lm,
        fs.MaskedDiffusion(block_length=8, cache=cache, reference_quirks=quirks, **rule),  # type: ignore[arg-type]
        lambda prompt: fast_dllm.generate(
            network,
            prompt,
            mask_id=37,
            steps=NEW,
            gen_length=NEW,
            block_length=8,
            cache=cache,
            quirks=quirks,
            **rule,
        ),
    )


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_fast_dllm_for_dream(tmp_path: Path, cache: Any, quirks: bool) -> None:
    network = ReferenceNetwork(Shape(qk_norm=False, qkv_bias=True), seed=4)
    reading = {"attention": "full", "shifted": True, "mask_token_id": 37}
    lm = fs.LM.from_pretrained(network.save(tmp_path), dtype="float32", config=reading)
    check(
        lm,
        fs.MaskedDiffusion(order="confidence", block_length=8, cache=cache, threshold=0.3, reference_quirks=quirks),
        lambda prompt: fast_dllm.generate_dream(
            network,
            prompt,
            mask_id=37,
            max_new_tokens=NEW,
            block_length=8,
            cache=cache,
            threshold=0.3,
            quirks=quirks,
        ),
    )


@pytest.mark.parametrize(
    ("order", "alg"), [("confidence", "maskgit_plus"), ("margin", "topk_margin"), ("entropy",) * 2]
)
@pytest.mark.parametrize("steps", [4, 16, 32])
def test_dream(tmp_path: Path, order: Any, alg: str, steps: int) -> None:
    network, lm = load(tmp_path, "dream")
    check(
        lm,
        fs.MaskedDiffusion(steps=steps, order=order),
        lambda prompt: dream.diffusion_generate(
            network, prompt, mask_id=MASK, max_new_tokens=NEW, steps=steps, alg=alg, quirks=False
        ),
    )


@pytest.mark.parametrize(
    ("order", "strategy"),
    [("sequential",) * 2, ("static", "low_confidence_static"), ("dynamic", "low_confidence_dynamic")],
)
@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("family", ["sdar", "sdar_moe"])
def test_sdar(tmp_path: Path, family: str, order: Any, strategy: str, steps: int) -> None:
    network, lm = load(tmp_path, family, **({"block_size": 4} if family == "sdar_moe" else {}))
    check(
        lm,
        fs.BlockDiffusion(order=order, steps=steps, threshold=0.2 if order == "dynamic" else None),
        lambda prompt: sdar.generate(
            network,
            prompt,
            mask_id=MASK,
            gen_length=NEW,
            block_length=4,
            denoising_steps=steps,
            temperature=0.0,
            strategy=strategy,
            threshold=0.2,
            quirks=False,
        ),
    )


@pytest.mark.parametrize("edit", ["off", 0.2])
def test_llada2(tmp_path: Path, edit: Any) -> None:
    network, lm = load(tmp_path, "llada2")
    assert lm.config.block_length == 32
    check(
        lm,
        fs.BlockDiffusion(threshold=0.3, edit_threshold=edit),
        lambda prompt: llada2.generate_2_1(
            network,
            prompt,
            mask_id=MASK,
            gen_length=NEW,
            block_length=32,
            threshold=0.3,
            editing_threshold=None if edit == "off" else edit,
        ),
    )


def test_fast_dllm_v2(tmp_path: Path) -> None:
    network, lm = load(tmp_path, "fast_dllm_v2", bd_size=8)
    check(
        lm,
        fs.BlockDiffusion(threshold=0.3, block_length=4),
        lambda prompt: fast_dllm_v2.generate(
            network,
            prompt,
            mask_id=MASK,
            max_new_tokens=NEW,
            block_length=8,
            sub_block_length=4,
            threshold=0.3,
            quirks=False,
        ),
    )


def test_a2d(tmp_path: Path) -> None:
    network, lm = load(tmp_path / "mdlm", "a2d_mdlm")
    check(
        lm,
        fs.MaskedDiffusion(steps=8),
        lambda prompt: llada.generate(
            network, prompt, mask_id=MASK, steps=8, gen_length=NEW, block_length=NEW, quirks=False
        ),
    )
    assert load(tmp_path / "bd3lm", "a2d_bd3lm", block_size=4)[1].config.block_length == 4


def test_bd3lm(tmp_path: Path) -> None:
    network = ReferenceNetwork(attention="block_causal", block_length=4, seed=5)
    reading = {"attention": "block_causal", "block_length": 4, "mask_token_id": 37}
    lm = fs.LM.from_pretrained(network.save(tmp_path), dtype="float32", config=reading)
    check(
        lm,
        fs.BlockDiffusion(order="static", steps=2),
        lambda prompt: bd3lm.generate(
            network,
            prompt,
            mask_id=37,
            max_new_tokens=NEW,
            block_length=4,
            steps_per_block=2,
            alignment="absolute",
            quirks=False,
        ),
        prompts=[
            prompt[: len(prompt) // 4 * 4] for prompt in PROMPTS if len(prompt) >= 4
        ],  # its last block is cut short
    )


def test_idlm_is_lossless(tmp_path: Path) -> None:
    network, lm = load(tmp_path, "idlm")
    assert (lm.config.attention, lm.config.shifted) == ("causal", True)
    for decoding in (fs.Strided(), fs.Strided(stride=4), fs.Strided(stride=8, exact=False)):
        sequences = lm.generate(PROMPTS, decoding=decoding, max_new_tokens=NEW, eos_token_id=None)
        for prompt, sequence in zip(PROMPTS, sequences, strict=True):
            ids = list(prompt)
            while len(ids) < len(prompt) + NEW:
                ids.append(int(network(torch.tensor([ids]))[0, -1].argmax()))
            assert sequence == ids


@pytest.mark.parametrize("exact", [True, False])
def test_a_gated_adapter_is_lossless(tmp_path: Path, exact: bool) -> None:
    """Rows of masks go through the adapter, so drafts change; what is written is what the base model writes."""
    reference, base = load(tmp_path / "base", "idlm")
    make_adapter(tmp_path / "adapter", "../base", reference.network)
    reading = {"attention": "causal", "shifted": True, "mask_token_id": MASK}
    adapted = fs.LM.from_pretrained(tmp_path / "adapter", dtype="float32", config=reading)
    assert adapted.config.has_adapter
    options: dict[str, Any] = {"max_new_tokens": NEW, "eos_token_id": None}
    strided = {"decoding": fs.Strided(stride=4, exact=exact), "return_dict_in_generate": True}
    out = adapted.generate(PROMPTS, **options, **strided)
    assert out.sequences == base.generate(PROMPTS, decoding=fs.Autoregressive(), **options)
    assert out.sequences == adapted.generate(PROMPTS, decoding=fs.Autoregressive(), **options)
    plain = base.generate(PROMPTS, **options, **strided)
    assert out.stats.drafted_tokens > 0
    if exact:
        assert (out.stats.accepted_tokens, out.stats.rows) != (plain.stats.accepted_tokens, plain.stats.rows)
