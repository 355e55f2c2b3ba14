"""The supported model families: how each deviates from the common block, and its class's defaults in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foresight.checkpoint.fields import MISSING, Missing

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """One value of `model_type`."""

    name: str
    max_position_embeddings: int
    num_key_value_heads: int | None = None  # where the field is absent; None: as many as heads
    head_dim: int | None = None  # None: hidden_size / heads
    theta: float = 10000.0
    local_theta: float = 10000.0
    tie_word_embeddings: bool = False
    qkv_bias: bool = False  # always there
    attention_bias_field: bool = False  # the field attention_bias gives q, k, v and o a bias
    mlp_bias_field: bool = False
    qk_norm: bool = False
    norm_plus_one: bool = False
    post_norms: bool = False
    sliding: str = "none"  # "all" layers, by "switch" and max_window_layers, by "pattern"
    eos_token_id: int | None = None
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    text_inside: bool = False  # the language model is described by text_config
    # How it is read: see foresight.checkpoint.reading. shifted None: as its attention suggests.
    attention: str = "causal"
    shifted: bool | None = None
    mask_token_id: int | None = None
    states_reading: bool = False  # config.json itself has attention, shifted, mask_token_id and block_length
    layout: str = "hf"  # of config fields and tensor names: "hf" | "olmo"
    # Sizes that config.json may leave out. Only gemma3's published files do; elsewhere a missing size is an error.
    sizes: Mapping[str, int] = field(default_factory=dict)

    def default(self, name: str) -> int | Missing:
        """The default of a size, MISSING where the file must state it."""
        return self.sizes.get(name, MISSING)


def _gemma3(text_inside: bool) -> Family:
    return Family(
        name="gemma3",
        max_position_embeddings=131072,
        num_key_value_heads=4,
        head_dim=256,
        theta=1_000_000.0,
        tie_word_embeddings=True,
        attention_bias_field=True,
        qk_norm=True,
        norm_plus_one=True,
        post_norms=True,
        sliding="pattern",
        eos_token_id=1,
        bos_token_id=2,
        pad_token_id=0,
        text_inside=text_inside,
        sizes={
            "vocab_size": 262208,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
        },
    )


FAMILIES: dict[str, Family] = {
    "llama": Family(
        name="llama",
        max_position_embeddings=2048,
        attention_bias_field=True,
        mlp_bias_field=True,
        eos_token_id=2,
        bos_token_id=1,
    ),
    "mistral": Family(
        name="mistral",
        max_position_embeddings=131072,
        num_key_value_heads=8,
        sliding="all",
        eos_token_id=2,
        bos_token_id=1,
    ),
    "qwen2": Family(
        name="qwen2",
        max_position_embeddings=32768,
        num_key_value_heads=32,
        qkv_bias=True,
        sliding="switch",
    ),
    "qwen3": Family(
        name="qwen3",
        max_position_embeddings=32768,
        num_key_value_heads=32,
        head_dim=128,
        attention_bias_field=True,
        qk_norm=True,
        sliding="switch",
    ),
    # LLaDA 8B and 1.5 (Nie et al. 2025): Llama's blocks under OLMo's names, everything sees everything.
    "llada": Family(
        name="llama",
        max_position_embeddings=4096,
        theta=500_000.0,
        attention="full",
        mask_token_id=126336,
        eos_token_id=126081,
        pad_token_id=126081,
        layout="olmo",
    ),
    # Dream and DiffuCoder (Ye et al. 2025): Qwen2's blocks; a row still speaks for the next position.
    "Dream": Family(
        name="qwen2",
        max_position_embeddings=32768,
        num_key_value_heads=32,
        theta=1_000_000.0,
        qkv_bias=True,
        attention="full",
        shifted=True,
        mask_token_id=151666,
        eos_token_id=151643,
        pad_token_id=151643,
    ),
    # Our own: Qwen3's blocks, with a table of positions in place of rotary embeddings where config.json
    # says so (learned_positions), read as it states.
    "foresight_qwen3": Family(
        name="qwen3",
        max_position_embeddings=32768,
        num_key_value_heads=32,
        head_dim=128,
        attention_bias_field=True,
        qk_norm=True,
        sliding="switch",
        states_reading=True,
    ),
    "gemma3_text": _gemma3(text_inside=False),
    "gemma3": _gemma3(text_inside=True),
}
