"""Draft heads: small networks beside a target model that guess its next tokens, one file per format.

What kind a folder holds is told by its config.json and its tensors, see `load_head`; docs/draft_heads.md lists the
fields and tensors of each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from foresight.checkpoint.config import ModelConfig
from foresight.checkpoint.fields import Fields, shown
from foresight.checkpoint.heads import dflash, eagle3, mtp
from foresight.checkpoint.heads.head import DraftHeadConfig, HeadCheckpoint
from foresight.checkpoint.json_limits import load_object
from foresight.checkpoint.resolve import resolve
from foresight.checkpoint.safetensors import SafetensorsFile
from foresight.checkpoint.shards import open_tensors

__all__ = ["DraftHeadConfig", "HeadCheckpoint", "load_head", "load_own_head"]

_FORMATS = {"eagle3": eagle3.read, "dflash": dflash.read, "dspark": dflash.read, "mtp": mtp.read}
_SPECULATORS = ("eagle3", "dflash", "dspark")


def load_head(path_or_hub_id: str | os.PathLike[str], target: ModelConfig) -> HeadCheckpoint:
    """The draft head of a folder or a hub's repository, checked against the model it drafts for.

    Raises CheckpointError for missing or broken files, fields and tensors, ValueError where the head does not fit the
    target or is of no known kind, NotImplementedError for features that are not built.
    """
    folder = resolve(path_or_hub_id)
    config_path = folder / "config.json"
    raw = load_object(config_path, allow_constants=True)
    files = open_tensors(folder)
    return _FORMATS[_kind(raw, files, str(config_path))](raw, files, folder, target)


def load_own_head(path: str | os.PathLike[str], target: ModelConfig) -> HeadCheckpoint:
    """The MTP layers inside the target's own checkpoint. Raises ValueError where it has none."""
    folder = resolve(path)
    raw = load_object(folder / "config.json", allow_constants=True)
    return mtp.read(raw, open_tensors(folder), folder, target)


def _kind(raw: Mapping[str, Any], files: Mapping[str, SafetensorsFile], source: str) -> str:
    fields = Fields(raw, source)
    stated = fields.text("speculators_model_type", "")
    if stated:
        if stated in _SPECULATORS:
            return stated
        raise ValueError(
            f"{source}: speculators_model_type is {shown(stated)}, expected one of {', '.join(map(repr, _SPECULATORS))}"
        )
    classes = raw.get("architectures")
    named = " ".join(name for name in classes if isinstance(name, str)).lower() if isinstance(classes, list) else ""
    if "dspark" in named:
        return "dspark"
    if "dflash" in named or fields.has("dflash_config"):
        return "dflash"
    if mtp.find(files, fields.integer("num_hidden_layers", 1, maximum=4096)) is not None:
        return "mtp"
    if fields.has("draft_vocab_size") or any(name.endswith("midlayer.hidden_norm.weight") for name in files):
        return "eagle3"
    raise ValueError(
        f"{source}: nothing tells what kind of draft head this is: expected EAGLE-3 (draft_vocab_size, or a tensor"
        " midlayer.hidden_norm.weight), DFlash (dflash_config, or a DFlash architecture), DSpark (a DSpark"
        " architecture), MTP (tensors eh_proj, mtp.fc or mtp_layers.0), or a speculators_model_type"
    )
