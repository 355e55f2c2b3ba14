"""Multi-token-prediction layers, in a folder of their own or inside the target's checkpoint, in three spellings:
DeepSeek's and GLM's (model.layers.{n}.eh_proj behind the model's n layers), Qwen3-Next's (mtp.fc) and MiMo's
(model.mtp_layers.0). The first of them is used for every guess, whatever their number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.fields import Fields
from foresight.checkpoint.heads.head import DraftHeadConfig, HeadCheckpoint, HeadTensors
from foresight.checkpoint.safetensors import SafetensorsFile

__all__ = ["Spelling", "find", "is_of_layer", "read", "suits"]


@dataclass(frozen=True, slots=True)
class Spelling:
    """Where the tensors of an MTP layer lie."""

    projection: str
    embed_norm: str
    feature_norm: str
    final_norm: str
    layer: str  # what the names of its decoder layer start with
    feature_first: bool = False


_QWEN = Spelling("mtp.fc", "mtp.pre_fc_norm_embedding", "mtp.pre_fc_norm_hidden", "mtp.norm", "mtp.layers.0.")


def _spellings(num_layers: int) -> list[Spelling]:
    deep = f"layers.{num_layers}."
    mimo = "mtp_layers.0."
    return [
        Spelling(f"{deep}eh_proj", f"{deep}enorm", f"{deep}hnorm", f"{deep}shared_head.norm", deep),
        _QWEN,
        Spelling(
            f"{mimo}input_proj",
            f"{mimo}token_layernorm",
            f"{mimo}hidden_layernorm",
            f"{mimo}final_layernorm",
            mimo,
            feature_first=True,
        ),
    ]


def find(names: Iterable[str], num_layers: int) -> Spelling | None:
    """How the MTP layer of these tensors, behind a model of num_layers, is spelled; None where there is none."""
    bare = {name.removeprefix("model.") for name in names}
    return next((each for each in _spellings(num_layers) if f"{each.projection}.weight" in bare), None)


def suits(target: ModelConfig) -> bool:
    """Whether MTP layers of this kind of model can be run: not of experts, nor with norms behind the blocks."""
    return target.experts is None and not target.post_norms


def is_of_layer(name: str, spelling: Spelling) -> bool:
    """Whether this tensor is one of the MTP layer's."""
    places = (spelling.projection, spelling.embed_norm, spelling.feature_norm, spelling.final_norm)
    bare = name.removeprefix("model.")
    return bare.startswith(spelling.layer) or bare.removesuffix(".weight") in places


def read(
    raw: Mapping[str, Any], files: Mapping[str, SafetensorsFile], folder: Path, target: ModelConfig
) -> HeadCheckpoint:
    """Raises as `load_head` does; ValueError where there is no MTP layer."""
    source = str(folder / "config.json")
    fields = Fields(raw, source)
    stated = fields.integer("hidden_size", target.hidden_size)
    if stated != target.hidden_size:
        raise ValueError(
            f"{source}: hidden_size is {stated}, but the target model has hidden_size {target.hidden_size}"
        )
    spelling = find(files, target.num_layers)
    if spelling is None:
        raise ValueError(
            f"{folder}: has no MTP layer: expected a tensor model.layers.{target.num_layers}.eh_proj.weight,"
            " mtp.fc.weight or model.mtp_layers.0.input_proj.weight; give fs.DraftHead the path of a draft head"
        )
    if not suits(target):
        raise NotImplementedError(
            f"{source}: MTP layers of {target.family} are not supported, only those of dense models"
        )
    tensors = HeadTensors(files, folder)
    model = _layer_model(target, tensors, spelling)
    hidden = model.hidden_size
    qk_norm = tensors.find(f"{spelling.layer}self_attn.q_norm.weight") is not None
    tensors.take("fc", f"{spelling.projection}.weight", (hidden, 2 * hidden))
    tensors.take("embed_norm", f"{spelling.embed_norm}.weight", (hidden,))
    tensors.take("feature_norm", f"{spelling.feature_norm}.weight", (hidden,))
    tensors.take("final_norm", f"{spelling.final_norm}.weight", (hidden,))
    tensors.take("layers.0.attn_norm", f"{spelling.layer}input_layernorm.weight", (hidden,))
    tensors.take_layer(0, spelling.layer, model, qk_norm=qk_norm, num_inputs=hidden)
    config = DraftHeadConfig(
        kind="mtp",
        model=model,
        qk_norm=qk_norm,
        target_layers=(target.num_layers,),
        target_hidden_size=target.hidden_size,
        target_vocab_size=target.vocab_size,
        norm_offset=1.0 if target.norm_plus_one else 0.0,
        feature_first=spelling.feature_first,
    )
    return HeadCheckpoint(folder, config, tensors.views, None)


def _layer_model(target: ModelConfig, tensors: HeadTensors, spelling: Spelling) -> ModelConfig:
    """One more layer of the target's own kind: full attention where the target's last layer has it."""
    module = f"{spelling.layer}self_attn"
    if tensors.find(f"{module}.kv_a_proj_with_mqa.weight"):
        raise NotImplementedError(f"{tensors.folder}: latent attention (MLA) in an MTP layer is not supported")
    kind = target.layer_types[-1]
    return dataclasses.replace(
        target,
        num_layers=1,
        layer_types=(kind,),
        rope={kind: target.rope[kind]},
        attention_bias=tensors.find(f"{module}.q_proj.bias") is not None,
        output_bias=tensors.find(f"{module}.o_proj.bias") is not None,
        mlp_bias=tensors.find(f"{spelling.layer}mlp.gate_proj.bias") is not None,
        has_adapter=False,
        adapter_scale=0.0,
    )
