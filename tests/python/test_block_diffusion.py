"""fs.BlockDiffusion: what its fields become, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from foresight.strategies import Batch, strategy_for
from support.tiny import make_tiny

pytest.importorskip("torch")
pytest.importorskip("transformers")

MASK = 319
READING = {"attention": "block_causal", "block_length": 32, "mask_token_id": MASK, "shifted": False}
BATCH = Batch([[1, 2, 3]], [4], [], MASK)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> fs.LM:
    folder = make_tiny(tmp_path_factory.mktemp("tiny"), "qwen3")
    return fs.LM.from_pretrained(folder, config=READING, num_threads=1, kv_cache_bytes=16 << 20)


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> fs.LM:
    folder = make_tiny(tmp_path_factory.mktemp("tiny"), "qwen2")
    return fs.LM.from_pretrained(folder, config={**READING, "shifted": True}, num_threads=1, kv_cache_bytes=16 << 20)


def resolved(config: Any, **fields: Any) -> fs.BlockDiffusion:
    decoding: fs.BlockDiffusion = strategy_for(fs.BlockDiffusion(**fields), config).resolved(BATCH)
    return decoding


def test_defaults_of_each_family(lm: fs.LM, shifted: fs.LM) -> None:
    common: dict[str, Any] = {"order": "dynamic", "edit_threshold": "off", "min_transfer": 1}
    sdar = fs.BlockDiffusion(block_length=32, steps=32, threshold=0.85, **common)
    assert resolved(lm.config) == sdar
    fast = fs.BlockDiffusion(block_length=8, steps=8, threshold=0.9, **common)
    assert resolved(shifted.config) == fast
    llada = dataclasses.replace(lm.config, family="llada2_moe")
    assert resolved(llada) == dataclasses.replace(sdar, threshold=0.95)
    editing = resolved(llada, edit_threshold=0.9)
    assert (editing.edit_threshold, editing.max_post_steps) == (0.9, 16)
    small = dataclasses.replace(shifted.config, block_length=4)
    assert resolved(small).block_length == 4
    assert resolved(lm.config, order="entropy_bound").threshold == 0.1
    assert resolved(lm.config, order="static").threshold is None
    assert resolved(lm.config, block_length=8).steps == 8


def test_it_is_what_a_block_model_does_by_itself(lm: fs.LM) -> None:
    out = lm.generate([[1, 2, 3]], max_new_tokens=5, eos_token_id=None, return_dict_in_generate=True)
    assert out.decoding == resolved(lm.config)
    assert out.new_positions == [[3, 4, 5, 6, 7]]
    assert out.stats.generated_tokens == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"block_length": 5}, "does not divide the model's blocks of 32"),
        ({"block_length": 64}, "does not divide the model's blocks of 32"),
        ({"block_length": 0}, "block_length is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": True}, "steps is True"),
        ({"min_transfer": 0}, "min_transfer is 0"),
        ({"order": "confidence"}, "order is 'confidence'"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": "high"}, "threshold is 'high'"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"threshold": 0.5, "order": "static"}, "compares nothing"),
        ({"edit_threshold": "never"}, "edit_threshold is 'never'"),
        ({"edit_threshold": 0.5, "order": "entropy_bound"}, "is a probability"),
        ({"max_post_steps": 3}, "editing, which is off"),
        ({"edit_threshold": 0.5, "max_post_steps": -1}, "max_post_steps is -1"),
    ],
)
def test_bad_fields_raise(lm: fs.LM, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lm.generate([[1, 2]], max_new_tokens=3, decoding=fs.BlockDiffusion(**fields))


def test_other_strategies_and_models_are_named(lm: fs.LM, tmp_path: Path) -> None:
    for decoding in (fs.Autoregressive(), fs.MaskedDiffusion(), fs.LatentAutoregressive(2)):
        with pytest.raises(ValueError, match="BlockDiffusion"):
            lm.generate([[1, 2]], max_new_tokens=3, decoding=decoding)
    causal = fs.LM.from_pretrained(make_tiny(tmp_path, "llama"), num_threads=1, kv_cache_bytes=4 << 20)
    with pytest.raises(ValueError, match="Autoregressive"):
        causal.generate([[1, 2]], max_new_tokens=3, decoding=fs.BlockDiffusion())


def test_what_a_shifted_model_cannot_do(shifted: fs.LM) -> None:
    with pytest.raises(ValueError, match="edit_threshold with a shifted model"):
        shifted.generate([[1, 2]], max_new_tokens=3, decoding=fs.BlockDiffusion(edit_threshold=0.5))
    with pytest.raises(ValueError, match="begins with the mask token"):
        shifted.generate([[MASK, 2, 3]])


def test_guidance_needs_blocks_that_fall_on_each_other(lm: fs.LM) -> None:
    prompt = list(range(1, 41))
    with pytest.raises(NotImplementedError, match="needs negative_prompt_ids"):
        lm.generate([prompt], max_new_tokens=3, guidance_scale=2.0)
    with pytest.raises(NotImplementedError, match="40 tokens and its negative prompt 7"):
        lm.generate([prompt], max_new_tokens=3, guidance_scale=2.0, negative_prompt_ids=[prompt[:7]])
    lm.generate([prompt], max_new_tokens=3, guidance_scale=2.0, negative_prompt_ids=[prompt[:8]], eos_token_id=None)


def test_streaming_hands_out_whole_blocks_while_tokens_may_be_edited(tmp_path: Path) -> None:
    reading = {**READING, "block_length": 4}
    lm = fs.LM.from_pretrained(make_tiny(tmp_path, "qwen3"), config=reading, num_threads=1, kv_cache_bytes=4 << 20)
    decoding = fs.BlockDiffusion(threshold=0.1, edit_threshold=0.1)
    events = list(lm.stream([[1, 2, 3]], max_new_tokens=9, decoding=decoding, eos_token_id=None))
    assert [event.positions for event in events if event.tokens] == [[3], [4, 5, 6, 7], [8, 9, 10, 11]]
    whole = lm.generate([[1, 2, 3]], max_new_tokens=9, decoding=decoding, eos_token_id=None)
    assert [token for event in events for token in event.tokens] == whole[0][3:]
