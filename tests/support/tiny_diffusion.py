"""Tiny random checkpoints of every diffusion family, in the family's published format, and networks to compare with.

`make_tiny_diffusion(folder, family)` writes config.json (with the family's own field names) and model.safetensors (with
its tensor names), and returns the reference: ids [batch, length] to logits [batch, length, vocab] under the family's
attention rule, not shifted. `make_adapter` writes a LoRA folder beside a base.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reference.models import Experts, Llada, Network, Sizes, randomise

MASK = 90

# What the files of a family say, beside its sizes; options of make_tiny_diffusion go over them.
_QWEN3 = {"attention_bias": False, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu"}
_CONFIGS: dict[str, dict[str, Any]] = {
    "llada": {"model_type": "llada", "architectures": ["LLaDAModelLM"], "mask_token_id": MASK},
    "dream": {"model_type": "Dream", "architectures": ["DreamModel"], "mask_token_id": MASK, "use_mrope": False},
    "sdar": {"model_type": "sdar", "architectures": ["SDARForCausalLM"], "block_size": 4, "mask_token_id": MASK},
    "sdar_moe": {"model_type": "sdar_moe", "architectures": ["SDARMoeForCausalLM"], "mask_token_id": MASK},
    "idlm": {"model_type": "sdar", "architectures": ["SDARForCausalLM"], "block_size": 3, "mask_token_id": MASK},
    "llada2": {"model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"], "mask_token_id": MASK},
    "fast_dllm_v2": {"model_type": "Fast_dLLM_Qwen", "bd_size": 32, "mask_token_id": MASK},
    "a2d_mdlm": {"model_type": "a2d-qwen3", "_name_or_path": "tiny-diffusion-mdlm-v0.1", "mask_token_id": MASK},
    "a2d_bd3lm": {"model_type": "a2d-qwen3", "_name_or_path": "tiny-diffusion-bd3lm-v0.1", "mask_token_id": MASK},
    "foresight_qwen3": {
        "model_type": "foresight_qwen3",
        "learned_positions": True,
        "attention": "full",
        "shifted": False,
        "mask_token_id": MASK,
    },
}
FAMILIES = list(_CONFIGS)


@dataclass
class Reference:
    """A network under its family's attention rule."""

    network: nn.Module
    mask: Callable[[int], Tensor]  # of a length: [length, length], true where a query sees a key

    def __call__(self, ids: Tensor, attention_mask: None = None) -> Tensor:
        assert attention_mask is None, "prompts of a reference are not padded"
        with torch.no_grad():
            return self.network(ids, self.mask(ids.shape[1]))


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


def full(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool)


def block_causal(block: int) -> Callable[[int], Tensor]:
    def mask(length: int) -> Tensor:
        blocks = torch.arange(length) // block
        return blocks[None, :] <= blocks[:, None]

    return mask


def make_tiny_diffusion(
    folder: str | Path, family: str, *, seed: int = 0, sizes: dict[str, Any] | None = None, **options: Any
) -> Reference:
    """Writes a tiny checkpoint of `family` into `folder`; `options` are further fields of its config.json, `sizes`
    are fields of Sizes that differ."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stated = {**_CONFIGS[family], **options}
    shape = dataclasses.replace(_sizes(family, stated), **(sizes or {}))
    network = Llada(shape) if family == "llada" else Network(shape, is_bailing=family == "llada2")
    config = {**_size_fields(family, shape), **stated}
    network = randomise(network, seed)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    return Reference(network, _rule(family, stated))


def _rule(family: str, stated: dict[str, Any]) -> Callable[[int], Tensor]:
    attention = {
        "llada": "full",
        "dream": "full",
        "a2d_mdlm": "full",
        "idlm": "causal",
        "foresight_qwen3": stated.get("attention"),
    }.get(family, "block_causal")
    if attention == "block_causal":
        fields = {"fast_dllm_v2": ("bd_size", 32), "foresight_qwen3": ("block_length", 0), "llada2": ("block_size", 32)}
        name, default = fields.get(family, ("block_size", 32 if family == "a2d_bd3lm" else 4))
        return block_causal(stated.get(name, default))
    # Rows that hold tokens only: a semi-causal model sees them all.
    return causal if attention == "causal" else full


def _sizes(family: str, stated: dict[str, Any]) -> Sizes:
    if family == "llada":
        return Sizes(theta=500000.0, eps=1e-5, kv_heads=4, head_dim=12)
    if family in ("dream", "fast_dllm_v2"):
        return Sizes(qkv_bias=True, head_dim=12)
    if family == "llada2":
        experts = Experts(sigmoid=True, groups=4, top_groups=2, scale=2.5, shared=1, dense_layers=[0])
        return Sizes(qk_norm=True, rotary_dim=8, theta=600000.0, experts=experts)
    if family == "sdar_moe":
        return Sizes(qk_norm=True, experts=Experts(dense_layers=[1]))
    if family == "foresight_qwen3":
        positions = 64 if stated["learned_positions"] else 0
        return Sizes(vocab=MASK + 1, kv_heads=4, qk_norm=True, positions=positions, tied=True)
    return Sizes(qk_norm=True)


def _size_fields(family: str, s: Sizes) -> dict[str, Any]:
    if family == "llada":
        return {
            "d_model": s.hidden,
            "n_heads": s.heads,
            "n_kv_heads": s.kv_heads,
            "n_layers": s.layers,
            "mlp_hidden_size": s.inner,
            "mlp_ratio": 4,
            "vocab_size": s.vocab - 2,
            "embedding_size": s.vocab,
            "max_sequence_length": 256,
            "rope": True,
            "rope_theta": s.theta,
            "rms_norm_eps": s.eps,
            "layer_norm_type": "rms",
            "block_type": "llama",
            "activation_type": "silu",
            "alibi": False,
            "include_bias": False,
            "include_qkv_bias": False,
            "weight_tying": False,
            "eos_token_id": 85,
            "pad_token_id": 85,
            "torch_dtype": "float32",
        }
    fields: dict[str, Any] = {
        **_QWEN3,
        "vocab_size": s.vocab,
        "hidden_size": s.hidden,
        "intermediate_size": s.inner,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.head_dim,
        "rope_theta": s.theta,
        "max_position_embeddings": s.positions or 256,
        "tie_word_embeddings": s.tied,
        "use_sliding_window": False,
        "eos_token_id": 85,
        "pad_token_id": 84,
        "torch_dtype": "float32",
    }
    if family == "llada2" and s.experts:
        return {
            **fields,
            "partial_rotary_factor": s.rotary_dim / s.head_dim if s.rotary_dim else 1.0,
            "num_experts": s.experts.count,
            "num_experts_per_tok": s.experts.per_token,
            "num_shared_experts": s.experts.shared,
            "moe_intermediate_size": s.experts.inner,
            "first_k_dense_replace": len(s.experts.dense_layers),
            "n_group": s.experts.groups,
            "topk_group": s.experts.top_groups,
            "routed_scaling_factor": s.experts.scale,
            "norm_topk_prob": s.experts.normalize,
            "score_function": "sigmoid",
            "use_qkv_bias": False,
            "use_bias": False,
        }
    if s.experts:
        return {
            **fields,
            "num_experts": s.experts.count,
            "num_experts_per_tok": s.experts.per_token,
            "moe_intermediate_size": s.experts.inner,
            "norm_topk_prob": s.experts.normalize,
            "decoder_sparse_step": 1,
            "mlp_only_layers": s.experts.dense_layers,
        }
    return fields


def make_adapter(folder: str | Path, base: str, network: nn.Module, *, seed: int = 5, **options: Any) -> nn.Module:
    """Writes a LoRA folder for the base (a path, as adapter_config.json states it) and returns the adapted network."""
    import copy

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": 4,
        "lora_alpha": 6,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "target_modules": ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"],
        **options,
    }
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config["use_rslora"] else rank)
    generator = torch.Generator().manual_seed(seed)
    adapted, tensors = copy.deepcopy(network), {}
    for name, module in adapted.named_modules():
        if not name.endswith(tuple(config["target_modules"])):
            continue
        outputs, inputs = module.weight.shape
        a = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        b = torch.randn(outputs, rank, generator=generator) * 0.5
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
        with torch.no_grad():
            module.weight += scale * (b @ a)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")
    return adapted
