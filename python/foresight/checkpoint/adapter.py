"""PEFT's LoRA adapters: adapter_config.json and adapter_model.safetensors, in a folder that names its base model.

A linear layer W with an adapter gives W x + scale * B (A x) to the rows that ask for it (Hu et al. 2021,
arXiv 2106.09685). I-DLM's lossless decoding asks for it at mask rows only.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.fields import Fields, shown
from foresight.checkpoint.json_limits import load_object
from foresight.checkpoint.safetensors import SafetensorsFile, TensorView
from foresight.checkpoint.weights import DECODERS, Place, expected_tensors
from foresight.errors import CheckpointError

__all__ = ["Adapter", "is_adapter", "load_adapter", "select_adapter"]

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_MAX_RANK = 65536
# Features that change what an adapter computes; their value when off is null, false, empty or "none".
_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "lora_bias",
    "bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
)
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])(\.default)?\.weight")
_LINEAR = re.compile(r"layers\.\d+\.(q|k|v|o|gate|up|down)")


@dataclass(frozen=True, slots=True)
class Adapter:
    """What adapter_config.json says."""

    folder: Path
    base: str  # a path, relative to the folder or not, or a hub id
    base_revision: str | None
    rank: int
    scale: float
    mask_token_id: int | None


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter and no model of its own."""
    return (folder / CONFIG).exists() and not (folder / "config.json").exists()


def load_adapter(folder: Path) -> Adapter:
    """Reads adapter_config.json.

    Raises CheckpointError for fields that are wrong, NotImplementedError for features of PEFT that are not built.
    """
    path = folder / CONFIG
    fields = Fields(load_object(path, allow_constants=True), str(path))
    kind = fields.text("peft_type")
    if kind != "LORA":
        raise NotImplementedError(f"{path}: peft_type {shown(kind)} is not supported, only 'LORA'")
    for name in _UNSUPPORTED:
        value = fields.raw.get(name)
        if value and value != "none":
            raise NotImplementedError(f"{path}: {name}={shown(value)} is not supported")
    rank = fields.integer("r", maximum=_MAX_RANK)
    alpha = fields.number("lora_alpha", maximum=1e9)
    return Adapter(
        folder=folder,
        base=fields.text("base_model_name_or_path"),
        base_revision=fields.text("revision") if fields.has("revision") else None,
        rank=rank,
        scale=alpha / (math.sqrt(rank) if fields.flag("use_rslora", False) else rank),
        mask_token_id=fields.token_id("mask_token_id"),
    )


def select_adapter(adapter: Adapter, config: ModelConfig) -> dict[str, TensorView]:
    """The adapter's tensors: "<canonical name>.lora_a" [rank, inputs] and "<canonical name>.lora_b" [outputs, rank].

    Raises CheckpointError naming the tensor that is missing or of the wrong shape, NotImplementedError for one that
    adapts anything but the linear layers of attention and of plain MLPs.
    """
    file = SafetensorsFile(adapter.folder / TENSORS)
    places = {
        place.name.removesuffix(".weight"): place
        for place in expected_tensors(config)
        if _LINEAR.fullmatch(place.canonical) and not place.whole
    }
    views: dict[str, TensorView] = {}
    for name in file.infos:
        found = _TENSOR.fullmatch(name)
        place = _place(found["module"], places) if found else None
        if found is None or place is None:
            raise NotImplementedError(
                f"{file.path}: tensor {shown(name)} is not supported: adapters go with the linear layers of attention"
                " and of plain MLPs"
            )
        outputs, inputs = place.shape
        shape = (adapter.rank, inputs) if found["half"] == "A" else (outputs, adapter.rank)
        view = file.view(name)
        if view.shape != shape:
            raise CheckpointError(
                f"{file.path}: tensor {shown(name)} has shape {list(view.shape)}, expected {list(shape)}"
            )
        views[f"{place.canonical}.lora_{found['half'].lower()}"] = view
    if not views:
        raise CheckpointError(f"{file.path}: holds no tensors")
    for name in views:
        other = name[:-1] + ("b" if name.endswith("a") else "a")
        if other not in views:
            raise CheckpointError(f"{file.path}: has {shown(views[name].name)}, but not its other half")
    return views


def _place(module: str, places: dict[str, Place]) -> Place | None:
    inside = (module.removeprefix(decoder) for decoder in DECODERS if module.startswith(decoder))
    return next((places[name] for name in inside if name in places), None)
