"""The supported model families, by `model_type`: how each deviates from the common block, and its class's defaults in
transformers or in its own code. docs/families.md tells where the values of diffusion models come from.
"""

from __future__ import annotations

import dataclasses

from foresight.checkpoint.family import Family

__all__ = ["FAMILIES"]

_LLAMA = Family(
    name="llama",
    max_position_embeddings=2048,
    attention_bias_field=True,
    mlp_bias_field=True,
    eos_token_id=2,
    bos_token_id=1,
)
_QWEN2 = Family(
    name="qwen2",
    max_position_embeddings=32768,
    num_key_value_heads=32,
    qkv_bias=True,
    sliding="switch",
)
_QWEN3 = Family(
    name="qwen3",
    max_position_embeddings=32768,
    num_key_value_heads=32,
    head_dim=128,
    attention_bias_field=True,
    qk_norm=True,
    sliding="switch",
)


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


# SDAR (Cheng et al. 2025): Qwen3's blocks, blocks of 4 positions unless the file says otherwise. I-DLM (Yu et al.
# 2026) comes under the same model_type and is causal: foresight.checkpoint.reading tells them apart.
_SDAR = dataclasses.replace(
    _QWEN3,
    theta=1_000_000.0,
    attention="",
    block_length=4,
    mask_token_id=151669,
    eos_token_id=151645,
    pad_token_id=151643,
)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": Family(
        name="mistral",
        max_position_embeddings=131072,
        num_key_value_heads=8,
        sliding="all",
        eos_token_id=2,
        bos_token_id=1,
    ),
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "gemma3_text": _gemma3(text_inside=False),
    "gemma3": _gemma3(text_inside=True),
    # LLaDA 8B and 1.5 (Nie et al. 2025): Llama's blocks under OLMo's names, everything sees everything.
    "llada": Family(
        name="llama",
        max_position_embeddings=4096,
        theta=500_000.0,
        rms_norm_eps=1e-5,
        layout="olmo",
        attention="full",
        mask_token_id=126336,
        eos_token_id=126081,
        pad_token_id=126081,
    ),
    # LLaDA 2.0 and 2.1 (inclusionAI 2025): Ling's blocks, with experts and half-turned heads.
    "llada2_moe": Family(
        name="llada2",
        max_position_embeddings=16384,
        theta=600_000.0,
        rms_norm_eps=1e-5,
        partial_rotary_factor=0.5,
        qk_norm=True,
        experts="bailing",
        layout="bailing",
        attention="block_causal",
        block_length=32,
        mask_token_id=156895,
        eos_token_id=156892,
        pad_token_id=156892,
    ),
    # Dream and DiffuCoder (Ye et al. 2025): Qwen2's blocks; a row still speaks for the next position.
    "Dream": dataclasses.replace(
        _QWEN2,
        theta=1_000_000.0,
        attention="full",
        shifted=True,
        mask_token_id=151666,
        eos_token_id=151643,
        pad_token_id=151643,
    ),
    "sdar": _SDAR,
    "sdar_moe": dataclasses.replace(_SDAR, name="qwen3_moe", experts="qwen3"),
    # Fast-dLLM v2 (Wu et al. 2025): Qwen2.5's blocks, decoded by sub-blocks.
    "Fast_dLLM_Qwen": dataclasses.replace(
        _QWEN2,
        theta=1_000_000.0,
        attention="block_causal",
        shifted=True,
        block_length=32,
        block_field="bd_size",
        sub_block_length=8,
        mask_token_id=151665,
        eos_token_id=151645,
        pad_token_id=151643,
    ),
    # dllm's conversions of causal models (Zhou et al. 2026): full attention (mdlm) or blocks of 32 (bd3lm).
    "a2d-llama": dataclasses.replace(_LLAMA, attention="", block_length=32),
    "a2d-qwen2": dataclasses.replace(_QWEN2, attention="", block_length=32),
    "a2d-qwen3": dataclasses.replace(_QWEN3, attention="", block_length=32),
    # Our own: Qwen3's blocks, with a table of positions in place of rotary embeddings where config.json
    # says so (learned_positions), read as it states.
    "foresight_qwen3": dataclasses.replace(_QWEN3, states_reading=True, block_field="block_length"),
}
