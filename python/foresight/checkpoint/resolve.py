"""From what the user names to a folder on disk: a folder, a bundled model, or a model of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from foresight.checkpoint.fields import shown
from foresight.errors import CheckpointError

__all__ = ["bundled_name", "bundled_names", "resolve"]

_BUNDLED = "bundled:"
_MODELS = Path(__file__).parent.parent / "models"
_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)

# All that a load may read. Weights in other formats, often as large again, are left where they are.
_HUB_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model*.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
]


def bundled_names() -> list[str]:
    """The names of the models that came with the package."""
    return sorted(path.parent.name for path in _MODELS.glob("*/config.json"))


def bundled_name(folder: Path) -> str | None:
    """The name of the bundled model in that folder; None for any other folder."""
    return folder.name if folder.parent == _MODELS and folder.name in bundled_names() else None


def resolve(
    path_or_hub_id: str | os.PathLike[str], *, revision: str | None = None, local_files_only: bool = False
) -> Path:
    """The folder that holds the checkpoint; a hub id is downloaded into the hub's cache unless it is there already.

    Raises TypeError for anything but a string or a path, ValueError for a bundled model that does not exist, and
    CheckpointError when there is no such folder or the hub cannot provide it.
    """
    if not isinstance(path_or_hub_id, (str, os.PathLike)):
        raise TypeError(f"expected a path or a hub id, got {type(path_or_hub_id).__name__}")
    name = os.fspath(path_or_hub_id)
    if not isinstance(name, str):
        raise TypeError(f"expected a path as text, got {type(name).__name__}")
    if not name:
        raise CheckpointError("'': no such folder")
    if name.startswith(_BUNDLED):
        return _bundled(name.removeprefix(_BUNDLED))
    folder = Path(name).expanduser() if name.startswith("~") else Path(name)
    try:
        if folder.is_dir():
            return folder
        if folder.exists():
            raise CheckpointError(f"{folder}: is a file, expected the folder that holds it")
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{shown(name)}: is not a path: {error}") from error
    if isinstance(path_or_hub_id, os.PathLike) or not _is_hub_id(name):
        raise CheckpointError(f"{shown(name)}: no such folder")
    return _from_hub(name, revision, local_files_only)


def _bundled(name: str) -> Path:
    if name not in bundled_names():
        raise ValueError(f"no bundled model {shown(name)}; there are: {', '.join(bundled_names()) or 'none'}")
    return _MODELS / name


def _is_hub_id(name: str) -> bool:
    parts = name.split("/")
    return bool(_HUB_ID.fullmatch(name)) and not any(part in (".", "..") for part in parts)


def _from_hub(name: str, revision: str | None, local_files_only: bool) -> Path:
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, local_files_only=local_files_only, allow_patterns=_HUB_FILES
        )
    except Exception as error:
        at = f" at revision {revision}" if revision else ""
        advice = (
            "download it once without local_files_only, or give a folder"
            if local_files_only
            else "check the id, the network and, for gated models, your login (hf auth login), or give a folder"
        )
        raise CheckpointError(
            f"{shown(name)}: no such folder, and the hub gave no such model{at} ({type(error).__name__}: {error});"
            f" {advice}"
        ) from error
    return Path(folder)
