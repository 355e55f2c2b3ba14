"""OLMo's names, which LLaDA's files use, as Hugging Face's Llama spells the same things."""

from __future__ import annotations

import re

from foresight.checkpoint.fields import Fields

__all__ = ["olmo_name", "with_hf_names"]

_FIELDS = {
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "mlp_hidden_size": "intermediate_size",
    "embedding_size": "vocab_size",
    "max_sequence_length": "max_position_embeddings",
    "activation_type": "hidden_act",
    "weight_tying": "tie_word_embeddings",
}
# What the blocks must be, or the same tensors would mean something else.
_EXPECTED = {
    "block_type": ("llama",),
    "layer_norm_type": ("rms",),
    "alibi": (False,),
    "rope": (True,),
    "include_bias": (False,),
    "include_qkv_bias": (False,),
    "bias_for_layer_norm": (False,),
    "attention_layer_norm": (False,),
    "input_emb_norm": (False,),
    "scale_logits": (False,),
}
_TENSORS = {
    "embed_tokens": "transformer.wte",
    "norm": "transformer.ln_f",
    "lm_head": "transformer.ff_out",
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}


def with_hf_names(fields: Fields) -> Fields:
    """The fields under Hugging Face's names; those that have them already are left as they are.

    The embedding may have more rows (embedding_size) than the vocabulary has tokens. Raises
    NotImplementedError for blocks that are not Llama's.
    """
    for name, expected in _EXPECTED.items():
        if fields.has(name) and fields.raw[name] not in expected:
            raise NotImplementedError(f"{fields.source}: {name}={fields.raw[name]!r} is not supported")
    raw = dict(fields.raw)
    for theirs, ours in _FIELDS.items():
        if raw.get(theirs) is not None:
            raw[ours] = raw[theirs]
    if raw.get("num_key_value_heads") is None:
        raw.pop("num_key_value_heads", None)
    return Fields(raw, fields.source, fields.where)


def olmo_name(name: str) -> str:
    """The name inside the decoder of a tensor that Llama calls `name`."""
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if layer:
        return f"transformer.blocks.{layer[1]}.{_TENSORS[layer[2]]}.{layer[3]}"
    module, _, kind = name.rpartition(".")
    return f"{_TENSORS[module]}.{kind}"
