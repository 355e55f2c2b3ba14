"""Mixtures of experts: what config.json says about them, in the spelling of Qwen3-MoE or of Ling (Bailing)."""

from __future__ import annotations

from dataclasses import dataclass

from foresight.checkpoint.family import Family
from foresight.checkpoint.fields import Fields, shown

__all__ = ["ExpertsConfig", "parse_experts"]

_MAX_EXPERTS = 4096


@dataclass(frozen=True, slots=True)
class ExpertsConfig:
    """What stands in place of the MLP in some layers.

    A row goes to the `experts_per_token` experts with the highest score (plus bias, where there is one). With groups,
    only the `top_groups` groups whose two best scores sum highest are looked at. The experts' outputs are weighted with
    the scores without bias, normalised to sum to one where `normalize` says so, times `scale`.
    """

    num_experts: int
    experts_per_token: int
    intermediate_size: int  # of one expert
    shared_intermediate_size: int  # of the expert that every row goes to as well; 0: there is none
    score: str  # "softmax" | "sigmoid"
    num_groups: int
    top_groups: int
    normalize: bool
    scale: float
    choice_bias: bool
    layers: tuple[bool, ...]  # whether a layer has experts


def parse_experts(fields: Fields, family: Family, num_layers: int) -> ExpertsConfig | None:
    """The experts that config.json describes; None for a family without."""
    if not family.experts:
        return None
    return _qwen3(fields, num_layers) if family.experts == "qwen3" else _bailing(fields, num_layers)


def _qwen3(fields: Fields, num_layers: int) -> ExpertsConfig:
    num_experts = fields.integer("num_experts", 128, maximum=_MAX_EXPERTS)
    step = fields.integer("decoder_sparse_step", 1)
    dense = fields.raw.get("mlp_only_layers") or []
    if not isinstance(dense, list) or any(isinstance(i, bool) or not isinstance(i, int) for i in dense):
        raise fields.error("mlp_only_layers", "a list of layers")
    return ExpertsConfig(
        num_experts=num_experts,
        experts_per_token=fields.integer("num_experts_per_tok", 8, maximum=num_experts),
        intermediate_size=fields.integer("moe_intermediate_size", 768, maximum=2**22),
        shared_intermediate_size=0,
        score="softmax",
        num_groups=1,
        top_groups=1,
        normalize=fields.flag("norm_topk_prob", False),
        scale=1.0,
        choice_bias=False,
        layers=tuple((i + 1) % step == 0 and i not in dense for i in range(num_layers)),
    )


def _bailing(fields: Fields, num_layers: int) -> ExpertsConfig:
    score = fields.text("score_function", "sigmoid")
    if score != "sigmoid":
        raise NotImplementedError(f"{fields.source}: score_function {shown(score)} is not supported, only 'sigmoid'")
    num_experts = fields.integer("num_experts", 16, maximum=_MAX_EXPERTS)
    num_groups = fields.integer("n_group", 8, maximum=num_experts)
    group = num_experts // num_groups
    # A group is judged by its two best experts.
    if num_experts % num_groups or (num_groups > 1 and group < 2):
        raise fields.error("n_group", f"groups of at least two that divide num_experts, {num_experts}")
    top_groups = fields.integer("topk_group", min(4, num_groups), maximum=num_groups)
    per_token = fields.integer("num_experts_per_tok", 2, maximum=top_groups * group)
    size = fields.integer("moe_intermediate_size", maximum=2**22)
    first = fields.integer("first_k_dense_replace", 0, minimum=0)
    return ExpertsConfig(
        num_experts=num_experts,
        experts_per_token=per_token,
        intermediate_size=size,
        shared_intermediate_size=size * fields.integer("num_shared_experts", 0, minimum=0, maximum=256),
        score=score,
        num_groups=num_groups,
        top_groups=top_groups,
        normalize=fields.flag("norm_topk_prob", True) and per_token > 1,
        scale=fields.number("routed_scaling_factor", 2.5),
        choice_bias=True,
        layers=tuple(i >= first for i in range(num_layers)),
    )
