"""Ling's (Bailing's) names, which LLaDA 2's files use, in place of those of Hugging Face's Llama."""

from __future__ import annotations

import re

__all__ = ["bailing_name", "fused_part"]

_MODULES = {
    "embed_tokens": "word_embeddings",
    "self_attn.q_proj": "attention.query_key_value",
    "self_attn.k_proj": "attention.query_key_value",
    "self_attn.v_proj": "attention.query_key_value",
    "self_attn.o_proj": "attention.dense",
    "self_attn.q_norm": "attention.query_layernorm",
    "self_attn.k_norm": "attention.key_layernorm",
}


def bailing_name(name: str) -> str:
    """The name inside the decoder of a tensor that Llama calls `name`."""
    layer = re.match(r"layers\.\d+\.|", name)
    prefix = layer[0] if layer else ""
    module, _, kind = name.removeprefix(prefix).rpartition(".")
    return f"{prefix}{_MODULES.get(module, module)}.{kind}"


def fused_part(num_heads: int, num_kv_heads: int, name: str) -> tuple[int, int] | None:
    """Of q, k and v, which lie in one matrix head by head: the first head, and how many there are in all."""
    module = re.search(r"self_attn\.([qkv])_proj\.", name)
    if module is None:
        return None
    first = {"q": 0, "k": num_heads, "v": num_heads + num_kv_heads}[module[1]]
    return first, num_heads + 2 * num_kv_heads
