"""Inverse frequencies against transformers, for every type of rotary scaling and several head sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from foresight.checkpoint.fields import Fields
from foresight.checkpoint.rope import RopeConfig, inverse_frequencies, parse_rope

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CASES: list[dict[str, Any]] = [
    {"rope_type": "default", "rope_theta": 10000.0},
    {"rope_type": "default", "rope_theta": 1000000.0},
    {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5},
    {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
    {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
    {"rope_type": "dynamic", "rope_theta": 500000.0, "factor": 8.0},
    {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.5,
        "high_freq_factor": 4.5,
        "original_max_position_embeddings": 100,
    },
    {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768},
    {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "original_max_position_embeddings": 64},
    {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 40.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "mscale": 1.0,
        "mscale_all_dim": 0.707,
    },
    {
        "rope_type": "yarn",
        "rope_theta": 150000.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "truncate": False,
        "attention_factor": 1.25,
    },
    {"rope_type": "yarn", "rope_theta": 10000.0, "factor": None, "original_max_position_embeddings": 2048},
]


def reference(rope: dict[str, Any], head_dim: int, seq_len: int | None) -> tuple[np.ndarray, float]:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = transformers.LlamaConfig(
        hidden_size=head_dim * 2,
        num_attention_heads=2,
        head_dim=head_dim,
        max_position_embeddings=16384,
        rope_parameters=dict(rope),
    )
    if rope["rope_type"] == "default":
        frequencies, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        frequencies, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, seq_len=seq_len)
    return frequencies.numpy(), factor


@pytest.mark.parametrize("rope", CASES, ids=lambda rope: f"{rope['rope_type']}-{rope.get('factor')}")
@pytest.mark.parametrize("head_dim", [4, 16, 64, 80, 128, 256])
def test_inverse_frequencies_are_those_of_transformers(rope: dict[str, Any], head_dim: int) -> None:
    parsed = parse_rope(Fields(rope, "config.json"), default_theta=10000.0, max_position_embeddings=16384)
    for seq_len in (None, 10, 16384, 16385, 50000):
        ours, factor = inverse_frequencies(parsed, head_dim, seq_len)
        theirs, their_factor = reference(rope, head_dim, seq_len)
        assert ours.dtype == np.float32
        assert ours.shape == (head_dim // 2,)
        assert factor == pytest.approx(their_factor, rel=1e-12)
        # torch's own power differs between instruction sets by a unit in the last place, which blends magnify.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0.0)


def test_most_frequencies_agree_to_the_last_bit() -> None:
    equal = total = 0
    for rope in CASES:
        parsed = parse_rope(Fields(rope, "config.json"), default_theta=10000.0, max_position_embeddings=16384)
        for head_dim in (64, 128):
            same = inverse_frequencies(parsed, head_dim)[0] == reference(rope, head_dim, None)[0]
            equal += int(same.sum())
            total += same.size
    assert equal / total > 0.7


def test_dynamic_scaling_depends_on_the_length_only_beyond_the_original() -> None:
    rope = RopeConfig(type="dynamic", factor=4.0, original_max_position_embeddings=100)
    default, _ = inverse_frequencies(RopeConfig(), 32)
    for length in (None, 1, 100):
        np.testing.assert_array_equal(inverse_frequencies(rope, 32, length)[0], default)
    longer, _ = inverse_frequencies(rope, 32, 200)
    assert longer[0] == 1.0
    assert (longer[1:] < default[1:]).all()
    theta = 10000.0 * (4.0 * 2 - 3.0) ** (32 / 30)
    assert longer[-1] == pytest.approx(theta ** (-30 / 32), rel=1e-6)


@pytest.mark.parametrize("head_dim", [0, -2, 3, 2])
def test_heads_that_cannot_be_rotated_are_refused(head_dim: int) -> None:
    with pytest.raises(ValueError, match=f"head_dim is {head_dim}"):
        inverse_frequencies(RopeConfig(type="dynamic", factor=2.0, original_max_position_embeddings=8), head_dim)


def test_extreme_but_legal_settings_stay_finite() -> None:
    for rope in CASES:
        for factor in (1e-5, 1e6):
            for theta in (1.0000001, 1e30):
                raw = {**rope, "rope_theta": theta, "factor": factor}
                parsed = parse_rope(Fields(raw, "c"), default_theta=1e4, max_position_embeddings=2**31 - 1)
                for head_dim in (4, 8192):
                    with np.errstate(all="raise", under="ignore"):
                        frequencies, scale = inverse_frequencies(parsed, head_dim, 2**31 - 1)
                    assert np.isfinite(frequencies).all()
                    assert math.isfinite(scale)
