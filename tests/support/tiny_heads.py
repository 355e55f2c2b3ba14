"""Tiny random draft heads in the formats of their sources, for a target of HIDDEN numbers and VOCAB tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

HIDDEN, VOCAB, LAYERS, HEAD_DIM, INNER = 64, 320, 6, 16, 80
HEADS, KV_HEADS = 4, 2

_LAYER = {
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "vocab_size": VOCAB,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


class Drawn(dict[str, Tensor]):
    """Random tensors by name, every one scaled so that what it gives has the size of what it takes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def _noise(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator)

    def matrix(self, name: str, rows: int, columns: int, scale: float = 1.0) -> None:
        self[name] = scale * self._noise(rows, columns) / columns**0.5

    def norm(self, name: str, size: int) -> None:
        self[name] = 1 + 0.2 * self._noise(size)

    def bias(self, name: str, size: int) -> None:
        self[name] = 0.2 * self._noise(size)

    def layer(self, name: str, *, inputs: int = HIDDEN, qk_norm: bool = False) -> None:
        self.norm(f"{name}.input_layernorm.weight", HIDDEN)
        self.norm(f"{name}.post_attention_layernorm.weight", HIDDEN)
        self.matrix(f"{name}.self_attn.q_proj.weight", HEADS * HEAD_DIM, inputs, 2.0)
        self.matrix(f"{name}.self_attn.k_proj.weight", KV_HEADS * HEAD_DIM, inputs, 2.0)
        self.matrix(f"{name}.self_attn.v_proj.weight", KV_HEADS * HEAD_DIM, inputs)
        self.matrix(f"{name}.self_attn.o_proj.weight", HIDDEN, HEADS * HEAD_DIM, 2.0)
        if qk_norm:
            self.norm(f"{name}.self_attn.q_norm.weight", HEAD_DIM)
            self.norm(f"{name}.self_attn.k_norm.weight", HEAD_DIM)
        self.matrix(f"{name}.mlp.gate_proj.weight", INNER, HIDDEN, 1.5)
        self.matrix(f"{name}.mlp.up_proj.weight", INNER, HIDDEN, 1.5)
        self.matrix(f"{name}.mlp.down_proj.weight", HIDDEN, INNER, 1.5)

    def draft_vocabulary(self, size: int) -> None:
        """d2t and t2d: `size` of the target's tokens, in order."""
        chosen = torch.randperm(VOCAB, generator=self._generator)[:size].sort().values
        self["d2t"] = chosen - torch.arange(size)
        self["t2d"] = torch.zeros(VOCAB, dtype=torch.bool).index_fill(0, chosen, True)


def _save(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def tiny_eagle3(folder: Path, variant: str = "official", seed: int = 1) -> Path:
    """variant: "official" (midlayer, a vocabulary of its own), "specforge" (layer ids in eagle_config, the whole
    vocabulary, biases), "speculators" (two layers of Qwen3's kind, the residual normed, norm_before_fc).
    """
    drawn = Drawn(seed)
    speculators = variant == "speculators"
    first = "layers.0" if speculators else "midlayer"
    vocab = VOCAB if variant == "specforge" else 200
    drawn.matrix("fc.weight", HIDDEN, 3 * HIDDEN)
    drawn.layer(first, inputs=2 * HIDDEN, qk_norm=speculators)
    drawn.norm(f"{first}.hidden_norm.weight", HIDDEN)
    drawn.norm("norm.weight", HIDDEN)
    drawn.matrix("lm_head.weight", vocab, HIDDEN, 3.0)
    if vocab != VOCAB:
        drawn.draft_vocabulary(vocab)
    layer = {**_LAYER, "num_hidden_layers": 1, "model_type": "llama"}
    config: dict[str, Any] = {**layer, "architectures": ["LlamaForCausalLM"], "draft_vocab_size": vocab}
    if variant == "specforge":
        drawn.matrix("embed_tokens.weight", VOCAB, HIDDEN, 8.0)
        for part, size in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            drawn.bias(f"midlayer.self_attn.{part}_proj.bias", size * HEAD_DIM)
        config["architectures"] = ["LlamaForCausalLMEagle3"]
        config["eagle_config"] = {"eagle_aux_hidden_state_layer_ids": [0, 2, 4], "use_aux_hidden_state": True}
    if speculators:
        drawn.layer("layers.1", qk_norm=True)
        drawn.norm("input_norm.weight", 3 * HIDDEN)
        config = {
            "architectures": ["Eagle3Speculator"],
            "speculators_model_type": "eagle3",
            "draft_vocab_size": vocab,
            "norm_before_residual": True,
            "norm_before_fc": True,
            "eagle_aux_hidden_state_layer_ids": [1, 3, 5],
            "transformer_layer_config": {**layer, "num_hidden_layers": 2, "model_type": "qwen3"},
        }
    return _save(folder, config, drawn)


def tiny_dflash(folder: Path, variant: str = "zlab", seed: int = 2) -> Path:
    """variant: "zlab", "sliding" (layers of both kinds), "speculators" (a vocabulary of its own), "deepspec" (block from
    the anchor on, ends of its own) and, with a Markov head, "vanilla", "gated", "rnn".
    """
    drawn = Drawn(seed)
    markov = variant in ("vanilla", "gated", "rnn")
    states = 2 if variant == "speculators" else 3
    drawn.matrix("fc.weight", HIDDEN, states * HIDDEN)
    drawn.norm("hidden_norm.weight", HIDDEN)
    drawn.norm("norm.weight", HIDDEN)
    for i in range(2):
        drawn.layer(f"layers.{i}", qk_norm=True)
    layer = {**_LAYER, "num_hidden_layers": 2, "model_type": "qwen3"}
    config: dict[str, Any] = {**layer, "architectures": ["DFlashDraftModel"], "num_target_layers": LAYERS}
    if variant in ("zlab", "sliding"):
        config["block_size"] = 6
        config["dflash_config"] = {"mask_token_id": 7, "target_layer_ids": [0, 2, 5]}
    if variant == "sliding":
        config |= {
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": 4,
            "use_sliding_window": True,
        }
    if variant == "speculators":
        drawn.draft_vocabulary(150)
        drawn.matrix("lm_head.weight", 150, HIDDEN, 3.0)
        config = {
            "architectures": ["DFlashSpeculator"],
            "speculators_model_type": "dflash",
            "draft_vocab_size": 150,
            "block_size": 5,
            "mask_token_id": 7,
            "aux_hidden_state_layer_ids": [2, 4],
            "transformer_layer_config": layer,
        }
    if variant == "deepspec" or markov:
        drawn.matrix("embed_tokens.weight", VOCAB, HIDDEN, 8.0)
        drawn.matrix("lm_head.weight", VOCAB, HIDDEN, 3.0)
        config |= {
            "architectures": ["Qwen3DSparkModel"],
            "block_size": 5,
            "mask_token_id": 7,
            "target_layer_ids": [-1, 1, 3],
            "num_anchors": 8,
            "enable_confidence_head": False,
            "markov_rank": 0,
        }
    if markov:
        rank = 12
        config |= {"markov_rank": rank, "markov_head_type": variant}
        drawn.matrix("markov_head.markov_w1.weight", VOCAB, rank, 4.0)
        drawn.matrix("markov_head.markov_w2.weight", VOCAB, rank, 4.0)
        if variant == "gated":
            drawn.matrix("markov_head.gate_proj.weight", rank, HIDDEN + rank)
            drawn.bias("markov_head.gate_proj.bias", rank)
        if variant == "rnn":
            drawn.matrix("markov_head.joint_proj.weight", 3 * rank, 2 * rank + HIDDEN)
            drawn.bias("markov_head.joint_proj.bias", 3 * rank)
    return _save(folder, config, drawn)


# Per spelling of an MTP layer: the names of its parts, and whether the feature goes first.
MTP_SPELLINGS: dict[str, tuple[dict[str, str], bool]] = {
    "deepseek": (
        {
            "projection": f"model.layers.{LAYERS}.eh_proj",
            "embed_norm": f"model.layers.{LAYERS}.enorm",
            "feature_norm": f"model.layers.{LAYERS}.hnorm",
            "final_norm": f"model.layers.{LAYERS}.shared_head.norm",
            "layer": f"model.layers.{LAYERS}",
        },
        False,
    ),
    "qwen": (
        {
            "projection": "mtp.fc",
            "embed_norm": "mtp.pre_fc_norm_embedding",
            "feature_norm": "mtp.pre_fc_norm_hidden",
            "final_norm": "mtp.norm",
            "layer": "mtp.layers.0",
        },
        False,
    ),
    "mimo": (
        {
            "projection": "model.mtp_layers.0.input_proj",
            "embed_norm": "model.mtp_layers.0.token_layernorm",
            "feature_norm": "model.mtp_layers.0.hidden_layernorm",
            "final_norm": "model.mtp_layers.0.final_layernorm",
            "layer": "model.mtp_layers.0",
        },
        True,
    ),
}


def tiny_mtp(folder: Path, variant: str = "deepseek", seed: int = 3) -> Path:
    """An MTP layer in a folder of its own, in one of MTP_SPELLINGS."""
    drawn = Drawn(seed)
    names, _ = MTP_SPELLINGS[variant]
    drawn.matrix(f"{names['projection']}.weight", HIDDEN, 2 * HIDDEN)
    for part in ("embed_norm", "feature_norm", "final_norm"):
        drawn.norm(f"{names[part]}.weight", HIDDEN)
    drawn.layer(names["layer"], qk_norm=True)
    config = {**_LAYER, "num_hidden_layers": LAYERS, "model_type": "qwen3", "num_nextn_predict_layers": 1}
    return _save(folder, config, drawn)
