"""What tells one model family from another, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foresight.checkpoint.fields import MISSING, Missing

__all__ = ["Family"]


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
    rms_norm_eps: float = 1e-6
    partial_rotary_factor: float | None = None  # None: heads turn as a whole, and a file that differs is refused
    experts: str = ""  # how config.json describes experts: "qwen3" | "bailing", "" where there are none
    layout: str = "hf"  # of config fields and tensor names: "hf" | "olmo" | "bailing"
    # How it is read: see foresight.checkpoint.reading.
    attention: str = "causal"  # "" where files of one model_type differ, and something else must tell
    shifted: bool | None = None  # None: as its attention suggests
    mask_token_id: int | None = None
    block_length: int | None = None
    block_field: str = "block_size"  # of config.json
    sub_block_length: int | None = None
    states_reading: bool = False  # config.json itself has attention, shifted, mask_token_id and block_length
    # Sizes that config.json may leave out. Only gemma3's published files do; elsewhere a missing size is an error.
    sizes: Mapping[str, int] = field(default_factory=dict)

    def default(self, name: str) -> int | Missing:
        """The default of a size, MISSING where the file must state it."""
        return self.sizes.get(name, MISSING)
