"""A tiny Qwen3 or Qwen2 under any attention mask, by transformers: the oracle of non-causal checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

VOCAB, MASK = 40, 37
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": None,
    "bos_token_id": None,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


def make_network(folder: Path, seed: int = 0, family: str = "qwen3") -> Any:
    """A random model whose logits differ clearly, saved in `folder`."""
    torch.manual_seed(seed)
    if family == "qwen3":
        model: Any = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.4)
    model.eval().save_pretrained(folder)
    return model


@torch.no_grad()
def logits_under(model: Any, ids: Tensor, sees: Tensor, positions: Tensor | None = None) -> Tensor:
    """Logits [B, L, V] where query row q sees key column k iff sees[q, k]."""
    bias = torch.where(sees, 0.0, torch.finfo(torch.float32).min)[None, None]
    where = torch.arange(ids.shape[1]) if positions is None else positions
    mask = {"full_attention": bias.expand(len(ids), 1, -1, -1)}
    return model(input_ids=ids, attention_mask=mask["full_attention"], position_ids=where[None], use_cache=False).logits


def full(model: Any) -> Any:
    """The network as the oracles of tests/reference call it; their prompts are not padded here."""

    def logits(ids: Tensor, attention_mask: None = None) -> Tensor:
        assert attention_mask is None
        return logits_under(model, ids, torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool))

    return logits
