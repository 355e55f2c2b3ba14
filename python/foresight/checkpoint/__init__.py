"""Checkpoint folders: config.json, safetensors, tokenizer and chat template, one file per format.

The core parses nothing: it gets a typed ModelConfig and named tensor views over mapped files. Files are untrusted;
everything is bounded and checked before it is used, and whatever is wrong is a CheckpointError naming the file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from foresight.checkpoint.adapter import Adapter, is_adapter, load_adapter, select_adapter
from foresight.checkpoint.config import ModelConfig, parse_config, with_dtype
from foresight.checkpoint.experts import ExpertsConfig
from foresight.checkpoint.json_limits import load_object
from foresight.checkpoint.reading import Surroundings
from foresight.checkpoint.resolve import bundled_name, bundled_names, resolve
from foresight.checkpoint.rope import RopeConfig, inverse_frequencies
from foresight.checkpoint.safetensors import TensorView
from foresight.checkpoint.shards import open_tensors
from foresight.checkpoint.template import ChatTemplate, load_chat_template
from foresight.checkpoint.tokenizer import StreamDecoder, Tokenizer, load_tokenizer
from foresight.checkpoint.weights import select_weights
from foresight.errors import CheckpointError

__all__ = [
    "ChatTemplate",
    "Checkpoint",
    "CheckpointError",
    "ExpertsConfig",
    "ModelConfig",
    "RopeConfig",
    "StreamDecoder",
    "Surroundings",
    "TensorView",
    "Tokenizer",
    "bundled_name",
    "bundled_names",
    "inverse_frequencies",
    "load",
    "parse_config",
    "resolve",
    "with_dtype",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a checkpoint folder holds."""

    path: Path
    config: ModelConfig
    tensors: dict[str, TensorView]  # by canonical name, see foresight.checkpoint.weights
    tokenizer: Tokenizer | None
    chat_template: ChatTemplate | None
    generation_config: dict[str, Any]  # as written, empty where there is none


def load(
    path_or_hub_id: str | os.PathLike[str],
    *,
    config: Mapping[str, Any] | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """Reads a checkpoint from a folder, the hub ("org/name"), or the package itself ("bundled:name"). The folder of a
    LoRA adapter gives its base model with the adapter beside it.

    `config` states what files do not say (attention, shifted, mask_token_id, block_length). The tensors stay in the
    mapped files until they are read. Raises CheckpointError for missing or broken files, NotImplementedError for a
    model that cannot be run, ValueError and TypeError for wrong arguments.
    """
    folder = resolve(path_or_hub_id, revision=revision, local_files_only=local_files_only)
    names = (os.fspath(path_or_hub_id), folder.name)
    if not is_adapter(folder):
        return _load(folder, config, names, None)
    adapter = load_adapter(folder)
    base = _base_of(adapter, local_files_only)
    return _load(base, config, (*names, adapter.base, base.name), adapter)


def _base_of(adapter: Adapter, local_files_only: bool) -> Path:
    """The folder of the model that an adapter was made for."""
    beside = adapter.folder / adapter.base
    try:
        folder = beside if beside.is_dir() else None
        folder = folder or resolve(adapter.base, revision=adapter.base_revision, local_files_only=local_files_only)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{adapter.folder}: the adapter's base_model_name_or_path: {error}") from error
    if is_adapter(folder):
        raise CheckpointError(f"{adapter.folder}: the adapter's base, {folder}, is an adapter, expected a model")
    return folder


def _load(
    folder: Path, overrides: Mapping[str, Any] | None, names: tuple[str, ...], adapter: Adapter | None
) -> Checkpoint:
    config_path = folder / "config.json"
    raw = load_object(config_path, allow_constants=True)
    generation_path = folder / "generation_config.json"
    generation = load_object(generation_path, allow_constants=True) if generation_path.exists() else {}
    text_folders = [folder] if adapter is None else [adapter.folder, folder]

    def mask() -> int | None:
        if adapter is not None and adapter.mask_token_id is not None:
            return adapter.mask_token_id
        tokenizer = _first(load_tokenizer, text_folders)
        return None if tokenizer is None else tokenizer.mask_token_id

    around = Surroundings(names, mask, has_adapter=adapter is not None)
    model = parse_config(raw, generation, overrides, str(config_path), around)
    tensors = select_weights(model, open_tensors(folder), str(folder))
    if not _states_dtype(raw):
        model = with_dtype(model, tensors["embed"].dtype)
    model = dataclasses.replace(model, tie_word_embeddings="lm_head" not in tensors)
    if adapter is not None:
        model = dataclasses.replace(model, adapter_scale=adapter.scale)
        tensors |= select_adapter(adapter, model)
    return Checkpoint(
        path=folder if adapter is None else adapter.folder,
        config=model,
        tensors=tensors,
        tokenizer=_first(load_tokenizer, text_folders),
        chat_template=_first(load_chat_template, text_folders),
        generation_config=generation,
    )


def _first(read: Callable[[Path], T | None], folders: Sequence[Path]) -> T | None:
    """What the first folder holds that holds it at all."""
    return next((found for folder in folders if (found := read(folder)) is not None), None)


def _states_dtype(raw: Mapping[str, Any]) -> bool:
    text = raw.get("text_config")
    places = (raw, text) if isinstance(text, dict) else (raw,)
    return any(place.get(name) is not None for place in places for name in ("dtype", "torch_dtype"))
