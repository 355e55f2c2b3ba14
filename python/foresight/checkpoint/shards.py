"""The tensors of a checkpoint folder: one model.safetensors, or shards with model.safetensors.index.json.

The index is {"metadata": {...}, "weight_map": {tensor name: shard's file name}}; shard names are plain file names of
the same folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foresight.checkpoint.fields import shown
from foresight.checkpoint.files import MEBIBYTE
from foresight.checkpoint.json_limits import load_json
from foresight.checkpoint.safetensors import SafetensorsFile
from foresight.errors import CheckpointError

__all__ = ["open_tensors"]

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_MAX_SHARDS = 4096
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def open_tensors(folder: Path) -> dict[str, SafetensorsFile]:
    """The file that holds each tensor of the folder.

    A single file goes before an index, as in transformers. Raises CheckpointError when there is neither, and when
    index and shards disagree.
    """
    if (folder / SINGLE).exists():
        file = SafetensorsFile(folder / SINGLE)
        return dict.fromkeys(file.infos, file)
    if (folder / INDEX).exists():
        return _open_shards(folder)
    if any((folder / name).exists() for name in _PICKLES):
        raise CheckpointError(
            f"{folder}: holds pytorch_model.bin, a pickle, which may run code and is not loaded; convert it with"
            " transformers: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)"
        )
    raise CheckpointError(f"{folder}: holds neither {SINGLE} nor {INDEX}")


def _open_shards(folder: Path) -> dict[str, SafetensorsFile]:
    path = folder / INDEX
    index = load_json(path, max_bytes=100 * MEBIBYTE, max_items=2_000_000)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: weight_map is {shown(weight_map)}, expected an object of file names")
    _check_names(path, weight_map)
    names = sorted(set(weight_map.values()))
    if len(names) > _MAX_SHARDS:
        raise CheckpointError(f"{path}: names {len(names)} shards, expected at most {_MAX_SHARDS}")
    for name in names:
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name}: is missing, though {path} names it")
    shards = {name: SafetensorsFile(folder / name) for name in names}

    owners: dict[str, SafetensorsFile] = {}
    for shard in shards.values():
        for tensor in shard.infos:
            if tensor in owners:
                raise CheckpointError(f"{shard.path}: tensor {shown(tensor)} is also in {owners[tensor].path.name}")
            owners[tensor] = shard
    for tensor, name in weight_map.items():
        if tensor not in shards[name].infos:
            elsewhere = f"; it is in {owners[tensor].path.name}" if tensor in owners else ""
            raise CheckpointError(f"{folder / name}: has no tensor {shown(tensor)}, though {path} says so{elsewhere}")
    return owners


def _check_names(path: Path, weight_map: Mapping[str, Any]) -> None:
    for tensor, name in weight_map.items():
        plain = isinstance(name, str) and len(name) <= 255 and name.endswith(".safetensors")
        if not plain or any(c in "/\\\0:" for c in name) or name.startswith("."):
            raise CheckpointError(
                f"{path}: tensor {shown(tensor)} lies in {shown(name)}, expected a .safetensors file of this folder"
            )
